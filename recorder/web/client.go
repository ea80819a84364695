package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"strings"
	"time"

	"siprecd/recorder"
)

// ErrNoServer means that nobody answers on the control socket: no server runs
// on that folder.
var ErrNoServer = errors.New("no server is running on this folder")

// Client speaks to a running server through its control socket.
type Client struct {
	path string
	http *http.Client
}

// NewClient makes a client for the socket at path. Close it after use.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Client{path, &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Close gives the idle connections back.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Follow yields a status at once and then after each change, until ctx ends,
// the loop stops, or the server does. An error is the last thing it yields; a
// server that says nothing for 15 s is one.
func (c *Client) Follow(ctx context.Context) iter.Seq2[recorder.Status, error] {
	return func(yield func(recorder.Status, error) bool) {
		body, err := c.get(ctx, "/status?follow=ndjson")
		if err != nil {
			yield(recorder.Status{}, err)
			return
		}
		defer body.Close()
		readStatuses(ctx, body, yield)
	}
}

// get asks for a path; the caller closes the body. Answers other than 200
// become errors with the server's words.
func (c *Client) get(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://siprecd"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial" && !errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w (%s)", ErrNoServer, c.path)
	case err != nil:
		return nil, fmt.Errorf("ask the server on %s: %w", c.path, errors.Unwrap(err))
	case resp.StatusCode == http.StatusOK:
		return resp.Body, nil
	}
	defer resp.Body.Close()
	words, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	return nil, fmt.Errorf("the server answered %d: %s", resp.StatusCode, Plain(strings.TrimSpace(string(words))))
}

// silence is how long a server may say nothing; it sends every five seconds.
const silence = 15 * time.Second

// readStatuses yields the statuses of an NDJSON answer.
func readStatuses(ctx context.Context, body io.ReadCloser, yield func(recorder.Status, error) bool) {
	mute := time.AfterFunc(silence, func() { _ = body.Close() })
	defer mute.Stop()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		mute.Reset(silence)
		var st recorder.Status
		err := json.Unmarshal(lines.Bytes(), &st)
		if err != nil {
			err = fmt.Errorf("read the server's answer: %w", err)
		}
		if !yield(st, err) || err != nil {
			return
		}
	}
	err := lines.Err()
	if errors.Is(err, io.ErrUnexpectedEOF) { // it was stopped in mid-answer, as every stop is
		err = nil
	}
	if err != nil && ctx.Err() == nil {
		yield(recorder.Status{}, fmt.Errorf("the server fell silent: %w", err))
	}
}
