// Package remote lets other processes read a folder while one records into it.
//
// bbolt lets one process open a file for writing and then nobody else. So the
// process that records answers the others on a socket in the folder, which
// only its own user may open: one JSON request, one JSON answer, in turn.
package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"siprecd/store/catalog"
	"siprecd/store/disk"
	"siprecd/store/erase"
	"siprecd/store/seal"
)

const socketFile = "store.sock"

// ErrUnanswered is what a reader gets that finds the databases in use and
// nobody who answers for them.
var ErrUnanswered = errors.New("a recorder has the folder open, but its socket " + socketFile +
	" is missing or does not answer: restart the recorder")

// Shelf is what reading needs of the catalogue: the catalogue itself, or the
// process that has it open.
type Shelf interface {
	Finder
	Pieces
	Intact(file string) error // is a database, by its name, still the one at its path
}

// Pieces is the part of a Shelf that hands out.
type Pieces interface {
	Row(id catalog.ID) ([]byte, error)
	Details(id catalog.ID) ([]byte, error)
	Keybox(id catalog.ID) ([]byte, error)
}

// Eraser is a Shelf that can also erase; see package erase.
type Eraser interface {
	Erase(ctx context.Context, o erase.Order) (receipts [][]byte, err error)
}

// Auditor is a Shelf that can also book what a reader does, under the user that
// the socket names; see package trail.
type Auditor interface {
	Answer(message []byte, uid int) error
}

// Finder is the part of a Shelf that searches.
type Finder interface {
	Find(text string) (catalog.ID, error)
	Page(sel catalog.Selection, before catalog.ID, limit int) ([]catalog.Item, error)
}

// ask is a request.
type ask struct {
	Op     string            `json:"op"` // row, details, keybox, find, page, intact, erase, audit
	ID     catalog.ID        `json:"id"`
	Text   string            `json:"text,omitempty"`
	Select catalog.Selection `json:"select"`
	Limit  int               `json:"limit,omitempty"`
	Erase  *erase.Order      `json:"erase,omitempty"`
	Event  []byte            `json:"event,omitempty"`

	uid int // of who asks, by the socket
}

// answer is what comes back.
type answer struct {
	Data  []byte       `json:"data,omitempty"`
	ID    catalog.ID   `json:"id"`
	Items []answerItem `json:"items,omitempty"`
	Texts [][]byte     `json:"texts,omitempty"`
	Error string       `json:"error,omitempty"`
}

type answerItem struct {
	ID    catalog.ID `json:"id"`
	Row   []byte     `json:"row"`
	Error string     `json:"error,omitempty"`
}

// socketPath is the socket's path, or, where that is too long for a socket
// address (108 bytes), a shorter way through the open folder.
func socketPath(dir string) (name string, done func(), err error) {
	name = filepath.Join(dir, socketFile)
	if len(name) < 100 {
		return name, func() {}, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), socketFile), func() { _ = d.Close() }, nil
}

// Server answers readers in other processes.
type Server struct {
	ctx      context.Context // of what is asked of the shelf
	root     *os.Root
	shelf    Shelf
	listener *net.UnixListener
	work     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	done  bool
}

// Serve begins to answer; dir is the folder that root is. What takes long ends
// early when ctx ends.
func Serve(ctx context.Context, root *os.Root, dir string, shelf Shelf) (*Server, error) {
	if err := disk.RemoveIfThere(root, socketFile); err != nil {
		return nil, err
	}
	name, done, err := socketPath(dir)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // the name may be a short way that is gone by then
	v := &Server{ctx: ctx, root: root, shelf: shelf, listener: l, conns: map[net.Conn]struct{}{}}
	if err := root.Chmod(socketFile, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	v.work.Go(v.accept)
	return v, nil
}

func (v *Server) accept() {
	for {
		c, err := v.listener.Accept()
		if err != nil {
			return // closed
		}
		v.mu.Lock()
		if v.done || len(v.conns) >= 64 {
			_ = c.Close()
		} else {
			v.conns[c] = struct{}{}
			v.work.Go(func() { v.answer(c) })
		}
		v.mu.Unlock()
	}
}

func (v *Server) answer(c net.Conn) {
	in, out := json.NewDecoder(c), json.NewEncoder(c)
	for {
		var q ask
		if in.Decode(&q) != nil {
			break
		}
		q.uid = peer(c)
		if out.Encode(answerFrom(v.ctx, v.shelf, q)) != nil {
			break
		}
	}
	v.mu.Lock()
	delete(v.conns, c)
	v.mu.Unlock()
	_ = c.Close()
}

func answerFrom(ctx context.Context, s Shelf, q ask) (a answer) {
	var err error
	switch q.Op {
	case "audit":
		err = book(s, q)
	case "erase":
		a.Texts, err = eraseAt(ctx, s, q)
	case "row":
		a.Data, err = s.Row(q.ID)
	case "details":
		a.Data, err = s.Details(q.ID)
	case "keybox":
		a.Data, err = s.Keybox(q.ID)
	case "find":
		a.ID, err = s.Find(q.Text)
	case "intact":
		err = s.Intact(q.Text)
	case "page":
		var items []catalog.Item
		items, err = s.Page(q.Select, q.ID, min(q.Limit, catalog.PageSize))
		for _, i := range items {
			a.Items = append(a.Items, answerItem{i.ID, i.Row, errorCode(i.Err)})
		}
	default:
		err = fmt.Errorf("unknown request %q", q.Op)
	}
	a.Error = errorCode(err)
	return a
}

// book puts what a reader does into the log of the process that records.
func book(s Shelf, q ask) error {
	if t, ok := s.(Auditor); ok {
		return t.Answer(q.Event, q.uid)
	}
	return errors.New("there is no audit log here")
}

// eraseAt erases for the user that the socket names, whatever the order says.
func eraseAt(ctx context.Context, s Shelf, q ask) ([][]byte, error) {
	e, ok := s.(Eraser)
	if !ok || q.Erase == nil {
		return nil, errors.New("erasing is not possible here")
	}
	q.Erase.Actor = fmt.Sprintf("uid:%d/erase", q.uid)
	return e.Erase(ctx, *q.Erase)
}

// sentinels cross the socket by their text.
func sentinels() []error { return []error{catalog.ErrNotFound, catalog.ErrAmbiguous, seal.ErrDamaged} }

func errorCode(err error) string {
	if err == nil {
		return ""
	}
	for _, s := range sentinels() {
		if errors.Is(err, s) {
			return s.Error()
		}
	}
	return err.Error()
}

func errorOf(code string) error {
	if code == "" {
		return nil
	}
	for _, s := range sentinels() {
		if s.Error() == code {
			return s
		}
	}
	return errors.New(code)
}

// Close stops answering.
func (v *Server) Close() error {
	v.mu.Lock()
	v.done = true
	err := v.listener.Close()
	for c := range v.conns {
		_ = c.Close() // a reader that is cut off sees an end of file
	}
	v.mu.Unlock()
	v.work.Wait()
	return errors.Join(err, disk.RemoveIfThere(v.root, socketFile))
}

// Client is the shelf of the process that records.
type Client struct {
	mu   sync.Mutex
	conn net.Conn
	in   *json.Decoder
	out  *json.Encoder
}

// Dial reaches the process that has the folder open; an error when there is
// none.
func Dial(dir string) (*Client, error) {
	name, done, err := socketPath(dir)
	if err != nil {
		return nil, err
	}
	defer done()
	c, err := net.DialTimeout("unix", name, time.Second)
	if err != nil {
		return nil, err
	}
	return &Client{conn: c, in: json.NewDecoder(c), out: json.NewEncoder(c)}, nil
}

func (r *Client) ask(q ask) (a answer, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	limit := 30 * time.Second
	if q.Op == "erase" {
		limit = eraseWithin
	}
	if err := r.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return a, err
	}
	if err := r.out.Encode(q); err != nil {
		return a, fmt.Errorf("ask the recorder: %w", err)
	}
	if err := r.in.Decode(&a); err != nil {
		return a, fmt.Errorf("ask the recorder: %w", err)
	}
	return a, errorOf(a.Error)
}

// Audit has the recorder book an event, and returns when it is durable.
func (r *Client) Audit(message []byte) error {
	_, err := r.ask(ask{Op: "audit", Event: message})
	return err
}

// peer is the user at the other end, as the kernel knows it; -1 when it does
// not.
func peer(c net.Conn) int {
	uid := -1
	u, ok := c.(*net.UnixConn)
	if !ok {
		return uid
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return uid
	}
	_ = raw.Control(func(fd uintptr) { // then the user stays unknown
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = int(cred.Uid)
		}
	})
	return uid
}

// eraseWithin is how long a batch of erasures may take.
const eraseWithin = 10 * time.Minute

// Erase has the recorder erase. It cannot be called off: what was begun is
// finished.
func (r *Client) Erase(_ context.Context, o erase.Order) ([][]byte, error) {
	a, err := r.ask(ask{Op: "erase", Erase: &o})
	return a.Texts, err
}

// Row returns a recording's row.
func (r *Client) Row(id catalog.ID) ([]byte, error) {
	a, err := r.ask(ask{Op: "row", ID: id})
	return a.Data, err
}

// Details returns a recording's details.
func (r *Client) Details(id catalog.ID) ([]byte, error) {
	a, err := r.ask(ask{Op: "details", ID: id})
	return a.Data, err
}

// Keybox returns a recording's keybox.
func (r *Client) Keybox(id catalog.ID) ([]byte, error) {
	a, err := r.ask(ask{Op: "keybox", ID: id})
	return a.Data, err
}

// Find returns the id that text stands for.
func (r *Client) Find(text string) (catalog.ID, error) {
	a, err := r.ask(ask{Op: "find", Text: text})
	return a.ID, err
}

// Intact says whether a database of the recorder's is still the one at its path.
func (r *Client) Intact(file string) error {
	_, err := r.ask(ask{Op: "intact", Text: file})
	return err
}

// Page returns a page of rows.
func (r *Client) Page(sel catalog.Selection, before catalog.ID, limit int) ([]catalog.Item, error) {
	a, err := r.ask(ask{Op: "page", Select: sel, ID: before, Limit: limit})
	var items []catalog.Item
	for _, i := range a.Items {
		items = append(items, catalog.Item{ID: i.ID, Row: i.Row, Err: errorOf(i.Error)})
	}
	return items, err
}

// Close hangs up.
func (r *Client) Close() error { return r.conn.Close() }
