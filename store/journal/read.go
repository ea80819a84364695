package journal

import (
	"encoding/binary"
	"fmt"
	"path/filepath"

	"siprecd/store/bolt"
	"siprecd/store/seal"
)

// maxRun bounds how far apart two packets of one segment may be: a day. A
// damaged header must not make Read allocate without end.
const maxRun = 24 * 3600 * 50

// Content is what the journal holds of a segment.
type Content struct {
	First   int      // number of the first packet, pre-roll included
	Packets [][]byte // one after the other; nil where one is missing
	Damaged int      // entries that did not open
	End     int      // one past the last packet that is there or that the header of an entry names
}

// frame is one entry read and opened.
type frame struct {
	first   int
	packets [][]byte
}

// Read returns a segment's durable packets in order. Doubles, as a replay
// after a failed write makes them, are dropped. A segment without entries
// gives an empty Content. Per is how many packets a segment has: a header that
// names a packet outside of its segment is not believed.
func (j *Journal) Read(s Segment, per int) (Content, error) {
	j.reading.RLock() // from the index to the last byte: entries may move
	defer j.reading.RUnlock()
	j.mu.Lock()
	refs := append([]ref(nil), j.index[s]...)
	j.mu.Unlock()
	var c Content
	for _, r := range refs {
		if n := int(r.first); n < (int(s.Seq)+1)*per {
			c.End = max(c.End, n+1, int(s.Seq)*per+1) // an entry holds more than a pre-roll
		}
	}
	var frames []frame
	for i := 0; i < len(refs); {
		n := i
		for n < len(refs) && refs[n].gen == refs[i].gen {
			n++
		}
		sealed, err := j.fetch(refs[i:n])
		if err != nil {
			j.log.Error("journal file cannot be read", "file", filepath.Base(refs[i].gen.path), "err", err)
			c.Damaged += n - i - len(sealed)
		}
		for k, data := range sealed {
			f, err := openEntry(refs[i+k].gen.box, s, refs[i+k].first, data)
			if err != nil {
				c.Damaged++
				continue
			}
			frames = append(frames, f)
		}
		i = n
	}
	return c, c.lay(frames)
}

// fetch copies the sealed bytes of refs, all in one generation; with an error
// come those read before it. The generation must not be deleted meanwhile.
func (j *Journal) fetch(refs []ref) ([][]byte, error) {
	var out [][]byte
	err := refs[0].gen.db.View(func(tx *bolt.Tx) error {
		for _, r := range refs {
			b := tx.Bucket(binary.BigEndian.AppendUint64(nil, r.tick))
			if b == nil {
				return fmt.Errorf("%w: no tick %d", bolt.ErrDamaged, r.tick)
			}
			v := b.Get([]byte(frameKey))
			if uint64(r.offset)+uint64(r.length) > uint64(len(v)) {
				return fmt.Errorf("%w: tick %d is short", bolt.ErrDamaged, r.tick)
			}
			out = append(out, append([]byte(nil), v[r.offset:r.offset+r.length]...))
		}
		return nil
	})
	refs[0].gen.db.Release() // else all calls' packets of a segment's length stay mapped: 240 kB a call
	return out, err
}

func openEntry(box *seal.Box, s Segment, first uint32, sealed []byte) (frame, error) {
	about := appendHeader(nil, s, first, 0)[:aboutSize]
	plain, err := box.Open(nil, sealed, about)
	if err != nil {
		return frame{}, err
	}
	packets, err := split(plain)
	return frame{int(first), packets}, err
}

// split takes an entry's plain text apart.
func split(plain []byte) (packets [][]byte, err error) {
	for len(plain) > 0 {
		n, k := binary.Uvarint(plain)
		if k <= 0 || n > uint64(len(plain)-k) {
			return nil, seal.ErrDamaged
		}
		packets = append(packets, plain[k:k+int(n):k+int(n)])
		plain = plain[k+int(n):]
	}
	return packets, nil
}

// lay puts the frames on one line by packet number.
func (c *Content) lay(frames []frame) error {
	if len(frames) == 0 {
		return nil
	}
	c.First = frames[0].first
	end := 0
	for _, f := range frames {
		c.First = min(c.First, f.first)
		end = max(end, f.first+len(f.packets))
	}
	if end-c.First > maxRun {
		return fmt.Errorf("read journal: %w: packets %d to %d in one segment", bolt.ErrDamaged, c.First, end)
	}
	c.Packets = make([][]byte, end-c.First)
	for _, f := range frames {
		copy(c.Packets[f.first-c.First:], f.packets)
	}
	c.End = max(c.End, end)
	return nil
}

// Check opens every entry of the journal file at path and calls found for each
// fault; recording is the zero id when the fault is the file's.
func Check(path string, host *seal.Host, o bolt.Options, found func(recording [16]byte, err error)) {
	o.ReadOnly, o.NoRotate = true, true
	db, err := bolt.Open(path, o)
	if err != nil {
		found([16]byte{}, err)
		return
	}
	err = db.View(func(tx *bolt.Tx) error {
		box, err := openBox(tx, host)
		if err != nil {
			return err
		}
		return eachTick(tx, func(tick uint64, value []byte) error {
			return eachEntry(value, func(e entry) {
				if _, err := openEntry(box, e.segment, e.first, value[e.offset:e.offset+e.length]); err != nil {
					found(e.segment.ID, fmt.Errorf("frame at packet %d, commit %d: %w", e.first, tick, err))
				}
			})
		})
	})
	if err == nil {
		err = db.Check(func([]string, []byte, []byte) error { return nil })
	}
	if err != nil {
		found([16]byte{}, err)
	}
	if err := db.Close(); err != nil {
		found([16]byte{}, err)
	}
}
