package store

import (
	"context"
	"fmt"
	"io"

	"filippo.io/age"

	"siprecd/store/audit"
	"siprecd/store/kept"
	"siprecd/store/seal"
)

// Sealed is a finished recording as it is kept; see package kept.
type Sealed = kept.Sealed

// Read hands out a finished recording. It refuses an access that does not say
// who and why (ErrAccess), a recording that is still live (ErrLive), and one
// that was erased (ErrErased). id may
// be shortened as for Get.
func (s *Store) Read(ctx context.Context, a Access, id string) (*Sealed, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	row, full, err := s.get(id)
	switch {
	case err != nil:
	case row.State == Erased:
		err = ErrErased
	case row.State != Finished:
		err = ErrLive
	}
	if err := s.Trail.Read(a, full, audit.Opened, err); err != nil {
		return nil, fmt.Errorf("read %q: %w", id, err)
	}
	s.log.Info("recording read", "id", row.ID)
	keybox, err := s.shelf.Keybox(full)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", row.ID, err)
	}
	x, err := kept.Load(s.root, full, keybox, s.signer.Public())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", row.ID, err)
	}
	return s.Leaving(a, full, x), nil
}

// ErrDamaged is returned (wrapped) when kept bytes are not what was written.
var ErrDamaged = seal.ErrDamaged

// Export writes a recording as one Ogg Opus file; see kept.Export.
func Export(w io.Writer, x *Sealed, holders ...age.Identity) error {
	return kept.Export(w, x, holders...)
}

// ExportSealed copies a recording into dir as it is kept; see
// kept.ExportSealed.
func ExportSealed(dir string, x *Sealed) error { return kept.ExportSealed(dir, x) }
