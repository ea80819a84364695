package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"siprecd/cmd/siprecd/tell"
	"siprecd/store"
)

// tableLimit is how many recordings the table shows when no limit is asked
// for; JSON, which programs read, has none.
const tableLimit = 50

// listCmd lists recordings, newest first.
type listCmd struct {
	JSON   bool   `help:"One JSON object per line, and no limit unless --limit says so."`
	Line   string `help:"Only this line." placeholder:"NAME"`
	Number string `help:"Only this caller, called number or agent, in any usual form." placeholder:"NUMBER"`
	State  string `help:"Only these: live, finished or erased." enum:"live,finished,erased," default:""`
	From   string `help:"Started at or after this time: RFC 3339, 2026-11-23, \"2026-11-23 10:00\" (UTC), or 24h for 24 hours ago." placeholder:"TIME"`
	To     string `help:"Started before this time." placeholder:"TIME"`
	Limit  *int   `help:"At most so many; 0 for all. Default: 50 in the table, all as JSON." placeholder:"N"`
}

// Run lists. The operator who may read the folder sees names and numbers in
// full.
func (c *listCmd) Run(e *env) error {
	q, err := c.query(e.now())
	if err != nil {
		return err
	}
	s, _, err := kept(e)
	if errors.Is(err, errNothing) {
		fmt.Fprintln(e.stderr, "no recordings")
		return nil
	}
	if err != nil {
		return err
	}
	defer leave(e, s)
	if c.JSON {
		return c.printJSON(e, s, q)
	}
	return c.printTable(e, s, q)
}

func (c *listCmd) query(now time.Time) (store.Query, error) {
	q := store.Query{Line: c.Line, Number: c.Number, State: store.State(c.State)}
	var err error
	if q.From, err = moment("--from", c.From, now); err != nil {
		return q, err
	}
	if q.To, err = moment("--to", c.To, now); err != nil {
		return q, err
	}
	switch {
	case c.Limit != nil && *c.Limit < 0:
		return q, usagef("--limit %d: give a number from 0", *c.Limit)
	case c.Limit != nil:
		q.Limit = *c.Limit
	case !c.JSON:
		q.Limit = tableLimit
	}
	return q, nil
}

// moment reads a time; without a zone it is UTC, as all times in the lists
// are. A duration means so long ago.
func moment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, usagef("%s %q is not a time: write RFC 3339, 2026-11-23, \"2026-11-23 10:00\" (UTC), or 24h for 24 hours ago", flag, text)
}

func (c *listCmd) printJSON(e *env, s *store.Store, q store.Query) error {
	out := json.NewEncoder(e.stdout)
	return c.each(e, s, q, func(row store.Row) error {
		if err := out.Encode(row); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		return nil
	})
}

func (c *listCmd) printTable(e *env, s *store.Store, q store.Query) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, tell.RowHead)
	n := 0
	damaged := c.each(e, s, q, func(row store.Row) error {
		n++
		tell.Row(w, row)
		return nil
	})
	if n == 0 {
		if damaged == nil {
			fmt.Fprintln(e.stderr, "no recordings")
		}
		return damaged
	}
	_ = w.Flush() // into memory
	for line := range strings.Lines(b.String()) {
		if _, err := io.WriteString(e.stdout, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	if c.Limit == nil && n == tableLimit {
		fmt.Fprintf(e.stderr, "the newest %d; --limit 0 lists all\n", n)
	}
	return damaged
}

// each calls do for every recording that fits. A row that cannot be read is
// told on stderr and makes the command fail at the end, not at once.
func (c *listCmd) each(e *env, s *store.Store, q store.Query, do func(store.Row) error) error {
	damaged := 0
	for row, err := range s.List(e.ctx, q) {
		switch {
		case err != nil && row.ID == "":
			return err
		case err != nil:
			damaged++
			fmt.Fprintf(e.stderr, "siprecd: %v\n", err)
		default:
			if err := do(row); err != nil {
				return err
			}
		}
	}
	if damaged > 0 {
		return fmt.Errorf("%d recording(s) could not be listed: siprecd verify says more", damaged)
	}
	return nil
}
