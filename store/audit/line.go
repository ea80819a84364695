package audit

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// maxLine is the longest line: a leaf is less than 600 bytes.
const maxLine = 4096

// sumSize is what stands before the JSON object: 8 hex digits and a blank.
const sumSize = 9

// ErrLine is returned (wrapped) for bytes that are not a whole line.
var ErrLine = errors.New("not a whole line of the audit log")

// appendSum appends the CRC-32C of a leaf in hex.
func appendSum(dst, leaf []byte) []byte {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Checksum(leaf, crc32.MakeTable(crc32.Castagnoli)))
	return hex.AppendEncode(dst, sum[:])
}

// leaf is an event as the tree has it.
func (e *Event) leaf() ([]byte, error) {
	data, err := json.Marshal(e)
	if err == nil && len(data)+sumSize+1 > maxLine {
		err = ErrEvent
	}
	return data, err
}

// appendLine appends the line of a leaf to dst.
func appendLine(dst, leaf []byte) []byte {
	dst = append(appendSum(dst, leaf), ' ')
	return append(append(dst, leaf...), '\n')
}

// SplitLine returns the leaf in a line with its line feed, or ErrLine.
func SplitLine(line []byte) ([]byte, error) {
	if len(line) <= sumSize+1 || line[len(line)-1] != '\n' || line[sumSize-1] != ' ' {
		return nil, ErrLine
	}
	leaf := line[sumSize : len(line)-1]
	var sum [sumSize - 1]byte
	if !bytes.Equal(appendSum(sum[:0], leaf), line[:sumSize-1]) {
		return nil, fmt.Errorf("%w: the checksum does not fit", ErrLine)
	}
	return leaf, nil
}

// A Reader reads the lines of a log one by one; memory is bounded whatever it
// reads.
type Reader struct {
	in     *bufio.Reader
	offset int64 // behind the last whole line
}

// NewReader reads from r.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(r, maxLine)} }

// Offset is how many bytes the whole lines read so far take.
func (r *Reader) Offset() int64 { return r.offset }

// Next returns the next leaf, valid until the next call. io.EOF is the clean
// end; ErrLine (wrapped) says that what follows is no whole line, after which
// nothing more can be read.
func (r *Reader) Next() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	switch {
	case errors.Is(err, io.EOF) && len(line) == 0:
		return nil, io.EOF
	case errors.Is(err, io.EOF), errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("%w: it does not end", ErrLine)
	case err != nil:
		return nil, err
	}
	leaf, err := SplitLine(line)
	if err == nil {
		r.offset += int64(len(line))
	}
	return leaf, err
}
