package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// ErrNotFound means that there is no configuration file.
var ErrNotFound = errors.New("no configuration found")

// maxFile is the most that is read: far more than any policy needs.
const maxFile = 4 << 20

// places lists where a configuration is looked for, in order.
func places() []string {
	return []string{"siprecd.yaml", filepath.Join("data", "siprecd.yaml"), "/etc/siprecd/siprecd.yaml"}
}

// Find gives the path of the configuration: the flag's value, else
// $SIPRECD_CONFIG, else the first of ./siprecd.yaml, ./data/siprecd.yaml and
// /etc/siprecd/siprecd.yaml that exists. The error wraps ErrNotFound and says
// where it looked.
func Find(flag string, getenv func(string) string) (string, error) {
	variable := getenv("SIPRECD_CONFIG")
	for _, named := range []struct{ path, by string }{{flag, "--config"}, {variable, "$SIPRECD_CONFIG"}} {
		if named.path == "" {
			continue
		}
		if _, err := os.Stat(named.path); err != nil {
			return "", fmt.Errorf("%w at %s, given by %s: %w", ErrNotFound, named.path, named.by, cause(err))
		}
		return named.path, nil
	}
	for _, path := range places() {
		// Anything but absence ends the search: a file that cannot be
		// read must not make another one count.
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: looked at --config, $SIPRECD_CONFIG, %s; make one with: siprecd init --dir DIR",
		ErrNotFound, strings.Join(places(), ", "))
}

// cause drops the path that a file error repeats.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// Load reads the file at path with sets (key=value, key a dotted path, value
// in YAML) laid over it. What is wrong comes back as *Error, with everything
// at once; a file that cannot be read as another error. Warnings are given in
// both cases. Now is what windows are past or future to.
func Load(path string, sets []string, now time.Time) (*Config, []Warning, error) {
	text, err := read(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read the configuration: %w", err)
	}
	file, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read the configuration: %w", err)
	}
	l := newLoader(path)
	root := l.parse(text)
	for _, s := range sets {
		l.set(root, s)
	}
	cfg := &Config{File: file, Hash: hashOf(text, sets)}
	if root != nil {
		l.mapping(root, "", reflect.ValueOf(cfg).Elem())
		l.validate(cfg, now)
		cfg.resolve(filepath.Dir(file))
	}
	problems, warnings := l.sorted()
	if len(problems) > 0 {
		return nil, warnings, &Error{Problems: problems}
	}
	return cfg, warnings, nil
}

func hashOf(text []byte, sets []string) string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{string(text)}, sets...), "\x00")))
	return hex.EncodeToString(sum[:])
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return text, err
}

// resolve makes the file's paths absolute: they are relative to the file.
func (c *Config) resolve(dir string) {
	for _, p := range []*string{&c.Store.Dir, &c.SIP.TLS.Certificate, &c.SIP.TLS.Key, &c.SIP.TLS.ClientCA} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// parse gives the root mapping of the file; nil when it is not YAML.
func (l *loader) parse(text []byte) *yaml.Node {
	var doc, more yaml.Node
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF): // empty, or comments only
		return &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}
	case err != nil:
		l.syntax(err)
		return nil
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		l.fail(&yaml.Node{Line: max(more.Line, 1), Column: max(more.Column, 1)}, "", "a second YAML document begins here: one is read")
	}
	return doc.Content[0]
}

// syntax reports what is not YAML at all; the reader tells the line only.
func (l *loader) syntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	l.fail(&yaml.Node{Line: line, Column: 1}, "", "this is not YAML: "+text)
}
