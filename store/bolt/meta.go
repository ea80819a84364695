package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
)

// What bbolt's two meta pages look like (its format 2): a page header, then the
// fields, the last of which is a checksum over those before it.
const (
	pageHeader  = 16 // id(8) flags(2) count(2) overflow(4)
	metaFlag    = 4
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaSize    = 64 // magic(4) version(4) page size(4) flags(4) root(16) freelist(8) pages(8) txid(8) checksum(8)
	txidAt      = 48
	sumAt       = 56
)

// checkMetas checks both meta pages. bbolt is content with one, and takes the
// older one where the newest is damaged: the last transaction is lost without
// a word. A file is written with transaction 0 in the first page and 1 in the
// second, and then each by turns, so the two always differ by one.
func checkMetas(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	var ids [2]uint64
	size := int64(0)
	for i := range ids {
		var err2 error
		if i == 1 && size == 0 {
			size = int64(os.Getpagesize())
		}
		if ids[i], err2 = readMeta(f, i, &size); err2 != nil {
			err = errors.Join(err, fmt.Errorf("%w: meta page %d: %w", ErrDamaged, i, err2))
		}
	}
	if err == nil && ids[0] != ids[1]+1 && ids[1] != ids[0]+1 {
		err = fmt.Errorf("%w: the meta pages are of transactions %d and %d", ErrDamaged, ids[0], ids[1])
	}
	return errors.Join(err, f.Close())
}

// readMeta returns the transaction of meta page i; size is the page size, which
// the first page tells.
func readMeta(f *os.File, i int, size *int64) (txid uint64, err error) {
	p := make([]byte, pageHeader+metaSize)
	if _, err := f.ReadAt(p, int64(i)**size); err != nil {
		return 0, err
	}
	m, order := p[pageHeader:], binary.NativeEndian // as bbolt writes it
	sum := fnv.New64a()
	sum.Write(m[:sumAt])
	switch {
	case order.Uint32(m) != metaMagic || order.Uint32(m[4:]) != metaVersion:
		return 0, errors.New("not a meta page")
	case order.Uint64(m[sumAt:]) != sum.Sum64():
		return 0, errors.New("the checksum does not fit")
	case order.Uint64(p) != uint64(i) || order.Uint16(p[8:]) != metaFlag:
		return 0, errors.New("the page header does not fit")
	}
	*size = int64(order.Uint32(m[8:]))
	if txid = order.Uint64(m[txidAt:]); txid%2 != uint64(i) {
		return 0, fmt.Errorf("transaction %d does not belong here", txid)
	}
	return txid, nil
}
