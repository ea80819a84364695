package theft

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"siprecd/cmd/torture/rig"
	"siprecd/store"
	"siprecd/store/seal"
)

// memory is the half of E1 and E2 that needs the superuser: what a full dump of
// the recorder's memory holds once its calls are over. No key of a finished
// recording may be in it. What is left of the calls' metadata is counted.
func memory(l *rig.Lab) error {
	s, err := begin(l)
	if err != nil {
		return err
	}
	list, rows, err := plant(l, s, l.Rounds, 400*time.Millisecond)
	if err != nil {
		return err
	}
	if err := s.Idle(time.Minute); err != nil {
		return err
	}
	keys := &needles{}
	for i, r := range rows {
		if i == 50 {
			break // each has five keys or more
		}
		if err := keysOf(l, s, r, keys); err != nil {
			return err
		}
	}
	metadata := of(list)
	long := l.Rounds >= 100
	if long { // the collector runs every two minutes when nothing happens
		if err := l.Sleep(130 * time.Second); err != nil {
			return err
		}
	}
	secrets, personal, size, err := dump(s.Pid(), keys, metadata)
	if err != nil {
		return err
	}
	l.Logf("%d MiB of memory; keys: %s", size>>20, few(secrets))
	l.Logf("metadata of finished calls: %d of %d needles", len(personal), 4*len(list))
	if long { // a test does not wait for the collector, nor is its binary built to clear keys
		l.Count("keys of finished recordings in memory", len(secrets), 0)
	}
	l.Figure("numbers, names and Call-IDs of ended calls in memory", fmt.Sprint(len(personal)), "told, see the README", true)
	return controlDump(l, list[0])
}

// dump looks through a process's memory.
func dump(pid int, keys, metadata *needles) (secrets, personal []string, size int64, err error) {
	size, err = memoryOf(pid, func(_ region, data []byte) {
		secrets = append(secrets, keys.in(data)...)
		personal = append(personal, metadata.in(data)...)
	})
	slices.Sort(secrets)
	slices.Sort(personal)
	return slices.Compact(secrets), slices.Compact(personal), size, err
}

// controlDump looks for a caller in the memory of a process that holds one: this
// one holds all of them.
func controlDump(l *rig.Lab, c caller) error {
	n := of([]caller{c})
	found := false
	_, err := memoryOf(os.Getpid(), func(_ region, data []byte) { found = found || len(n.in(data)) > 0 })
	l.Control("a process that holds them", map[bool]int{true: 1}[found], 1)
	return err
}

// keysOf adds all keys that open a finished recording: its identity, as text
// and as bytes, and of each of its files the file key and the payload key.
func keysOf(l *rig.Lab, s *rig.Server, r store.Row, n *needles) error {
	dir, err := sealedExport(l, s, r.ID)
	if err != nil {
		return err
	}
	own, err := identityIn(dir, filepath.Join(s.Dir, "keys", seal.ConsoleKeyFile))
	if err != nil {
		return err
	}
	text := own.String()
	secret, err := bech32Bytes(text)
	if err != nil {
		return err
	}
	n.add("identity of "+r.ID, []byte(text))
	n.add("secret of "+r.ID, secret)
	files, err := filepath.Glob(filepath.Join(dir, "0*.age"))
	if err != nil {
		return err
	}
	for _, file := range append(files, filepath.Join(dir, store.DetailsFile)) {
		fileKey, payload, err := fileKeys(file, own)
		if err != nil {
			return err
		}
		n.add("file key of "+filepath.Base(file)+" of "+r.ID, fileKey)
		n.add("payload key of "+filepath.Base(file)+" of "+r.ID, payload)
	}
	return nil
}

// sealedExport exports a recording as it is kept.
func sealedExport(l *rig.Lab, s *rig.Server, id string) (string, error) {
	dir := filepath.Join(l.Dir, "sealed", id)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(filepath.Dir(dir), 0o700)); err != nil {
		return "", err
	}
	_, err := s.Do("export", id, "--sealed", "-o", dir)
	return dir, err
}

// identityIn opens the keybox of a sealed export.
func identityIn(dir, holder string) (*age.X25519Identity, error) {
	box, err := os.ReadFile(filepath.Join(dir, store.KeyboxFile))
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(holder)
	if err != nil {
		return nil, err
	}
	ids, err := age.ParseIdentities(bytes.NewReader(key))
	if err != nil {
		return nil, err
	}
	own, err := seal.OpenKeybox(box, ids...)
	if err != nil {
		return nil, err
	}
	x, ok := own.(*age.X25519Identity)
	if !ok {
		return nil, fmt.Errorf("an identity of type %T", own)
	}
	return x, nil
}

// fileKeys are the two keys that open an age file: the one in its header, and
// the one of its payload that is derived from it (age's format, C2SP age).
func fileKeys(path string, own age.Identity) (fileKey, payload []byte, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	header, err := age.ExtractHeader(bytes.NewReader(data))
	if err != nil {
		return nil, nil, err
	}
	if fileKey, err = age.DecryptHeader(header, own); err != nil {
		return nil, nil, err
	}
	nonce := data[len(header) : len(header)+16]
	payload, err = hkdf.Key(sha256.New, fileKey, nonce, "payload", 32)
	return fileKey, payload, err
}

// bech32Bytes is what a key in age's form stands for.
func bech32Bytes(key string) ([]byte, error) {
	const digits = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	at := strings.LastIndexByte(key, '1')
	if at < 0 || len(key)-at < 8 {
		return nil, errors.New("not a key in age's form")
	}
	var out []byte
	acc, bits := uint32(0), 0
	for _, c := range strings.ToLower(key[at+1 : len(key)-6]) {
		v := strings.IndexRune(digits, c)
		if v < 0 {
			return nil, errors.New("not a key in age's form")
		}
		acc, bits = acc<<5|uint32(v), bits+5
		if bits >= 8 {
			bits -= 8
			out = append(out, byte(acc>>bits))
		}
	}
	return out, nil
}

// opensWith says whether stock age opens a file with an identity file.
func opensWith(ctx context.Context, age, identity, file string) bool {
	return exec.CommandContext(ctx, age, "-d", "-i", identity, "-o", os.DevNull, file).Run() == nil
}
