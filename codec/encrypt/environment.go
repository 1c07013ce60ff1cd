package encrypt

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// The variables in which [FromEnvironment] finds the keys.
const (
	EnvKeys     = "DOGPILE_AESGCM_KEYS"
	EnvKeysFile = "DOGPILE_AESGCM_KEYS_FILE"
)

// mostText is more than anybody's keys. It ends the reading of what is no file of
// keys, such as a device.
const mostText = 1 << 20

// FromEnvironment reads the keys of the process from the variable
// DOGPILE_AESGCM_KEYS, or from the file that DOGPILE_AESGCM_KEYS_FILE names.
//
// Keys are written as their id, a colon, and 32 bytes in base64. The first one is
// the current one. In the variable there are commas between them:
//
//	DOGPILE_AESGCM_KEYS=2026-11:bkpD…Zz0=,2026-10:F0aw…qCE=
//
// In a file each has its line; lines that are empty or begin with "#" do not count.
// Errors name the variable or the file and the line, and never show what is written
// there, because that may be a key.
//
// The environment is read when FromEnvironment is called, and that is when a codec
// is opened by its name. It is an error if both variables are set, or neither.
func FromEnvironment() (Keys, error) {
	text, path := os.Getenv(EnvKeys), os.Getenv(EnvKeysFile)
	switch {
	case text != "" && path != "":
		return Keys{}, fmt.Errorf("codec/encrypt: both %s and %s are set: leave one of them", EnvKeys, EnvKeysFile)
	case text != "":
		return parse(strings.Split(text, ","), func(i int) string { return fmt.Sprintf("%s: entry %d", EnvKeys, i+1) })
	case path == "":
		return Keys{}, fmt.Errorf("codec/encrypt: there are no keys: set %s to id:base64,…, or %s to a file with such lines; \"openssl rand -base64 32\" makes a key",
			EnvKeys, EnvKeysFile)
	}
	text, err := readFile(path)
	if err != nil {
		// The path is not shown: it may be a key in the wrong variable.
		if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
			err = failed.Err
		}
		return Keys{}, fmt.Errorf("codec/encrypt: the file that %s names: %w", EnvKeysFile, err)
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			lines[i] = "#"
		}
	}
	return parse(lines, func(i int) string { return fmt.Sprintf("%s:%d", path, i+1) })
}

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, mostText+1))
	if err != nil {
		return "", err
	}
	if len(text) > mostText {
		return "", fmt.Errorf("it has more than %d bytes and is no file of keys", mostText)
	}
	return string(text), nil
}

// parse reads the keys of entries. Those that are "#" are none; where names the
// others in errors.
func parse(entries []string, where func(i int) string) (Keys, error) {
	keys := Keys{Keys: map[string][]byte{}}
	var wrong []error
	for i, entry := range entries {
		if entry == "#" {
			continue
		}
		id, secret, err := parseEntry(entry)
		if err == nil && keys.Keys[id] != nil {
			err = errors.New("has an id that stood there before")
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("codec/encrypt: %s %w", where(i), err))
			continue
		}
		if keys.Current == "" {
			keys.Current = id
		}
		keys.Keys[id] = secret
	}
	if len(wrong) > 0 {
		return Keys{}, errors.Join(wrong...)
	}
	if err := keys.check(); err != nil {
		return Keys{}, err
	}
	return keys, nil
}

// parseEntry reads one key. Its errors go on after the name of the place, and show
// nothing of entry.
func parseEntry(entry string) (id string, secret []byte, err error) {
	id, text, found := strings.Cut(strings.TrimSpace(entry), ":")
	id = strings.TrimSpace(id)
	switch {
	case strings.TrimSpace(entry) == "":
		return "", nil, errors.New("is empty: write id:base64")
	case !found:
		return "", nil, errors.New("has no colon: write id:base64")
	case !validID(id):
		return "", nil, fmt.Errorf("does not begin with an id, which has up to %d letters, digits, \"-\", \"_\" and \".\"", longestID)
	}
	secret, err = fromBase64(strings.TrimSpace(text))
	if err != nil {
		return "", nil, errors.New("is not in base64 behind the colon")
	}
	return id, secret, checkKey(secret)
}

// fromBase64 reads both alphabets, with or without padding.
func fromBase64(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("a line ends within the key") // the decoder would skip that
	}
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	return base64.RawStdEncoding.Strict().DecodeString(text)
}
