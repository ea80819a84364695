package faults

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestBoard(t *testing.T) {
	var log bytes.Buffer
	b := New(slog.New(slog.NewTextHandler(&log, nil)))
	b.Set("clock", "")
	if len(b.List()) != 0 || log.Len() != 0 {
		t.Fatal("what was never wrong was told")
	}
	b.Set("clock", "the clock was stepped by 1 s")
	since := b.List()[0].Since
	b.Set("clock", "the clock was stepped by 2 s")
	b.Set("memory", "little memory is left")
	l := b.List()
	if len(l) != 2 || l[0].Name != "clock" || !l[0].Since.Equal(since) || l[0].Text != "the clock was stepped by 2 s" {
		t.Errorf("the board shows %+v", l)
	}
	b.Set("clock", "")
	if l := b.List(); len(l) != 1 || l[0].Name != "memory" {
		t.Errorf("the board shows %+v", l)
	}
	if n := strings.Count(log.String(), "\n"); n != 3 {
		t.Errorf("%d log lines, want one for each that came and went:\n%s", n, &log)
	}
}
