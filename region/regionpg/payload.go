package regionpg

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dogpile-go/dogpile/region"
)

// decode reads a payload. What cannot be read may be an invalidation of anything.
func (s *Source) decode(payload string) region.Notice {
	n, err := s.tryDecode(payload)
	if err != nil {
		s.log.Error("dogpile: a notification cannot be read, so everything is invalidated",
			"channel", s.cfg.Channel, "error", err, "payload", shorten(payload))
		return region.Notice{All: true}
	}
	return n
}

func (s *Source) tryDecode(payload string) (n region.Notice, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the function Decode panicked: %v", p)
		}
	}()
	return s.cfg.Decode(payload)
}

// shorten keeps a log from being filled.
func shorten(payload string) string {
	const most = 200
	if len(payload) <= most {
		return payload
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(payload[:most], ""), len(payload))
}

// decodeJSON reads the payload that the package's documentation describes. It goes
// through the tokens itself: encoding/json takes names in capitals for the small ones,
// the last of two members with one name, and null for anything.
func decodeJSON(payload string) (region.Notice, error) {
	var n region.Notice
	if !utf8.ValidString(payload) {
		return n, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(strings.NewReader(payload))
	if t, err := d.Token(); err == io.EOF {
		return n, errors.New("it is empty")
	} else if err != nil {
		return n, err
	} else if t != json.Delim('{') {
		return n, errors.New("it is not a JSON object")
	}
	var seen []string
	for d.More() {
		name, err := text(d)
		if err != nil {
			return n, err
		}
		if slices.Contains(seen, name) {
			return n, fmt.Errorf("it has the member %q twice", shorten(name))
		}
		seen = append(seen, name) // few: an unknown name ends the loop
		switch name {
		case "region":
			n.Region, err = text(d)
		case "mode":
			n.Mode, err = mode(d)
		case "all":
			n.All, err = truth(d)
		case "tags":
			n.Tags, err = texts(d)
		case "keys":
			n.Keys, err = texts(d)
		default:
			return n, fmt.Errorf("it has the unknown member %q; there are region, mode, all, tags and keys", shorten(name))
		}
		if err != nil {
			return n, fmt.Errorf("its member %s: %w", name, err)
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return n, err
	}
	if _, err := d.Token(); err != io.EOF {
		return n, errors.New("something follows the JSON object")
	}
	if !slices.ContainsFunc(seen, func(name string) bool { return name == "all" || name == "tags" || name == "keys" }) {
		return n, errors.New("it does not say what is to be invalidated: all, tags or keys")
	}
	return n, nil
}

func mode(d *json.Decoder) (region.Invalidation, error) {
	name, err := text(d)
	switch {
	case err != nil:
		return 0, err
	case name == "hard":
		return region.Hard, nil
	case name == "soft":
		return region.Soft, nil
	}
	return 0, fmt.Errorf(`it is %q, not "hard" or "soft"`, shorten(name))
}

func truth(d *json.Decoder) (bool, error) {
	t, err := d.Token()
	if err != nil {
		return false, err
	}
	b, ok := t.(bool)
	if !ok {
		return false, errors.New("it is not true or false")
	}
	return b, nil
}

func text(d *json.Decoder) (string, error) {
	t, err := d.Token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", errors.New("it is not a string")
	}
	// Half of a surrogate pair was something else before it came here.
	if strings.ContainsRune(s, utf8.RuneError) {
		return "", errors.New("it has a character that stands for an unreadable one")
	}
	return s, nil
}

func texts(d *json.Decoder) ([]string, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if t != json.Delim('[') {
		return nil, errors.New("it is not a list of strings")
	}
	var all []string
	for d.More() {
		s, err := text(d)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	_, err = d.Token() // the closing bracket
	return all, err
}
