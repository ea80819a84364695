package sinks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// sender is how a target is reached.
func sender(u *url.URL) func(context.Context, Message) error {
	switch u.Scheme {
	case "file":
		return func(_ context.Context, m Message) error { return appendFile(u.Path, m.Note) }
	case "syslog":
		return func(ctx context.Context, m Message) error { return syslog(ctx, u.Host, m.Line) }
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return func(ctx context.Context, m Message) error { return post(ctx, client, u, m.Note) }
}

// appendFile adds a note and an empty line, durably. The file is opened anew
// each time, so that it may be rotated, or lie on a disk that comes and goes.
// Of a note that did not fit nothing is left: the half of one, with the next
// behind it, would be taken for a forgery.
func appendFile(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	n, err := f.Write(append(bytes.Clone(text), '\n'))
	if err == nil {
		err = f.Sync()
	} else if n > 0 {
		err = errors.Join(err, cut(f, int64(n)))
	}
	return errors.Join(err, f.Close())
}

// cut takes the last n bytes of a file away.
func cut(f *os.File, n int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return f.Truncate(info.Size() - n)
}

// priority is facility 13, log audit, and severity 5, notice (RFC 5424 section
// 6.2.1).
const priority = 13*8 + 5

// localSockets are where a system log listens on its own machine.
func localSockets() []string { return []string{"/dev/log", "/var/run/syslog"} }

// syslog sends one message: RFC 5424, over a datagram (RFC 5426).
func syslog(ctx context.Context, address, line string) error {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "-"
	}
	text := fmt.Sprintf("<%d>1 %s %s siprecd %d checkpoint - %s", priority,
		time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), host, os.Getpid(), line)
	c, err := dialLog(ctx, address)
	if err != nil {
		return err
	}
	_, err = c.Write([]byte(text))
	return errors.Join(err, c.Close())
}

func dialLog(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	if address != "" {
		return d.DialContext(ctx, "udp", address)
	}
	var all error
	for _, name := range localSockets() {
		c, err := d.DialContext(ctx, "unixgram", name)
		if err == nil {
			return c, nil
		}
		all = errors.Join(all, err)
	}
	return nil, all
}

// post hands a note over; any 2xx answer means that it was taken. The error
// does not repeat the URL, which may hold a password.
func post(ctx context.Context, client *http.Client, u *url.URL, text []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(text))
	if err != nil {
		return errors.New("not a URL")
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	res, err := client.Do(req)
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("answered %s", res.Status)
	}
	return nil
}
