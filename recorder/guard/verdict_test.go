package guard

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
		change func(h *store.Health, l *media.Load, draining *bool, busy *error)
	}{
		{"", func(*store.Health, *media.Load, *bool, *error) {}},
		{"serving", func(_ *store.Health, _ *media.Load, d *bool, _ *error) { *d = true }},
		{"store", func(h *store.Health, _ *media.Load, _ *bool, _ *error) { h.LastError = broken }},
		{"store", func(h *store.Health, _ *media.Load, _ *bool, _ *error) { h.StuckError = broken }},
		{"journal", func(h *store.Health, _ *media.Load, _ *bool, _ *error) { h.JournalAge = 6 * time.Second }},
		{"", func(h *store.Health, _ *media.Load, _ *bool, _ *error) { h.JournalAge = time.Second }},
		{"disk", func(h *store.Health, _ *media.Load, _ *bool, _ *error) { h.DiskFree = 1<<30 - 1 }},
		{"disk", func(h *store.Health, _ *media.Load, _ *bool, _ *error) { h.DiskError = broken }},
		{"media", func(_ *store.Health, _ *media.Load, _ *bool, b *error) { *b = errBusy }},
		{"ports", func(_ *store.Health, l *media.Load, _ *bool, _ *error) { l.PortsUsed = 97 }},
		{"", func(_ *store.Health, l *media.Load, _ *bool, _ *error) { l.PortsUsed = 96 }},
	} {
		h, l, draining, busy := health, load, false, error(nil)
		c.change(&h, &l, &draining, &busy)
		for _, v := range Verdicts(draining, h, l, 1<<30, busy) {
			if failed := v.Err != nil; failed != (v.Name == c.name) {
				t.Errorf("want %q to fail: %s says %v", c.name, v.Name, v.Err)
			}
		}
	}
}
