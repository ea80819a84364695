package prove

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"siprecd/store/audit"
	"siprecd/store/seal"
)

// Entry is an event with what its details say; these are nil when there are
// none, or when they were forgotten or are not opened.
type Entry struct {
	Tree string
	audit.Event
	Detail *audit.Detail
}

// Events calls each for every event, oldest first, until it returns false. It
// proves nothing: Verify does. box opens the details; nil: they stay closed.
func Events(root *os.Root, box *seal.Box, each func(Entry) bool) error {
	names, err := audit.Trees(root)
	for i := 0; err == nil && i < len(names); i++ {
		var more bool
		if more, err = eventsOf(root, names[i], box, each); !more {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	return nil
}

func eventsOf(root *os.Root, name string, box *seal.Box, each func(Entry) bool) (more bool, err error) {
	details := map[string]audit.Detail{}
	if box != nil {
		if details, err = audit.Details(root, name, box, func(int, error) {}); err != nil {
			return false, err
		}
	}
	f, err := root.Open(path.Join(audit.Dir, name+audit.LogSuffix))
	if err != nil {
		return false, err
	}
	defer f.Close()
	for r := audit.NewReader(f); ; {
		leaf, err := r.Next()
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		var e audit.Event
		if err == nil {
			e, err = audit.ParseLeaf(leaf)
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w; see audit verify", name, err)
		}
		x := Entry{Tree: name, Event: e}
		if d, ok := details[e.Detail]; ok {
			x.Detail = &d
		}
		if !each(x) {
			return false, nil
		}
	}
}
