package recorder

import (
	"errors"
	"testing"
	"time"

	"siprecd/media"
	"siprecd/store"
)

func TestVerdicts(t *testing.T) {
	health := store.Health{DiskFree: 10 << 30, DiskTotal: 20 << 30}
	load := media.Load{PortsTotal: 100, PortsUsed: 10}
	broken := errors.New("no such disk")
	for _, c := range []struct {
		name   string // of the check that must fail; "" for none
		change func(h *store.Health, l *media.Load, draining *bool)
	}{
		{"", func(*store.Health, *media.Load, *bool) {}},
		{"serving", func(_ *store.Health, _ *media.Load, d *bool) { *d = true }},
		{"store", func(h *store.Health, _ *media.Load, _ *bool) { h.LastError = broken }},
		{"store", func(h *store.Health, _ *media.Load, _ *bool) { h.StuckError = broken }},
		{"journal", func(h *store.Health, _ *media.Load, _ *bool) { h.JournalAge = 6 * time.Second }},
		{"", func(h *store.Health, _ *media.Load, _ *bool) { h.JournalAge = time.Second }},
		{"disk", func(h *store.Health, _ *media.Load, _ *bool) { h.DiskFree = 1<<30 - 1 }},
		{"disk", func(h *store.Health, _ *media.Load, _ *bool) { h.DiskError = broken }},
		{"media", func(_ *store.Health, l *media.Load, _ *bool) { l.Late = 2 * time.Second }},
		{"ports", func(_ *store.Health, l *media.Load, _ *bool) { l.PortsUsed = 97 }},
		{"", func(_ *store.Health, l *media.Load, _ *bool) { l.PortsUsed = 96 }},
	} {
		h, l, draining := health, load, false
		c.change(&h, &l, &draining)
		for _, v := range verdicts(draining, h, l, 1<<30) {
			if failed := v.err != nil; failed != (v.name == c.name) {
				t.Errorf("want %q to fail: %s says %v", c.name, v.name, v.err)
			}
		}
	}
}
