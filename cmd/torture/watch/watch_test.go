package watch

import (
	"fmt"
	"os"
	"testing"

	"siprecd/cmd/torture/fault"
	"siprecd/cmd/torture/rig"
)

func TestMain(m *testing.M) {
	if err := fault.Launch(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestRows(t *testing.T) { rig.Test(t, Rows()) }
