package rig

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Test runs the short form of rows as tests, on a binary built for them.
func Test(t *testing.T, rows []Row) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "siprecd")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", bin, "siprecd/cmd/siprecd")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		t.Fatalf("build siprecd: %v", err)
	}
	t.Run("rows", func(t *testing.T) {
		for _, row := range rows {
			t.Run(row.ID, func(t *testing.T) {
				t.Parallel()
				one(t, row, bin)
			})
		}
	})
}

func one(t *testing.T, row Row, bin string) {
	r := Run(t.Context(), row, bin, row.Short, t.Output())
	switch {
	case r.Skipped != "":
		t.Skipf("needs %s", r.Skipped)
	case r.Err != nil:
		t.Fatal(r.Err)
	case len(r.Figures) == 0:
		t.Error("nothing was measured")
	}
	for _, f := range r.Figures {
		if !f.OK {
			t.Errorf("%s: %s, want %s", f.Name, f.Value, f.Goal)
		}
	}
}
