package book

import (
	"testing"

	"siprecd/cmd/torture/rig"
)

func TestRows(t *testing.T) { rig.Test(t, Rows()) }
