package regionconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"sort"

	"github.com/dogpile-go/dogpile/region"
)

// JSON reads a setup from JSON. The rest is as for [YAML].
func JSON(name string, data []byte) (region.Setup, error) {
	return read(name, data, parseJSON)
}

func parseJSON(data []byte) (*node, *fault) {
	p := &jsonParser{decoder: json.NewDecoder(bytes.NewReader(data))}
	for i, b := range data {
		if b == '\n' {
			p.ends = append(p.ends, int64(i))
		}
	}
	p.decoder.UseNumber()
	if len(bytes.TrimSpace(data)) == 0 {
		return &node{kind: nothing, line: 1}, nil
	}
	root, f := p.value(0)
	if f != nil {
		return nil, f
	}
	if _, err := p.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, faultf(p.line(), "something stands behind the end of the JSON")
	}
	return root, nil
}

type jsonParser struct {
	decoder *json.Decoder
	ends    []int64 // where lines end
	nodes   int
}

// line returns the line that the last token stands in.
func (p *jsonParser) line() int { return p.lineOf(p.decoder.InputOffset()) }

func (p *jsonParser) lineOf(offset int64) int {
	return 1 + sort.Search(len(p.ends), func(i int) bool { return p.ends[i] >= offset })
}

func (p *jsonParser) token() (json.Token, *fault) {
	token, err := p.decoder.Token()
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return token, nil
	case errors.As(err, &syntax):
		return nil, faultf(p.lineOf(syntax.Offset), "this is no JSON: %w", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, faultf(len(p.ends)+1, "the JSON ends too early")
	}
	return nil, faultf(p.line(), "this is no JSON: %w", err)
}

func (p *jsonParser) value(depth int) (*node, *fault) {
	if p.nodes++; p.nodes > mostNode {
		return nil, faultf(p.line(), "the file has more than %d values", mostNode)
	}
	if depth > deepest {
		return nil, faultf(p.line(), "the file is nested deeper than %d levels", deepest)
	}
	token, f := p.token()
	if f != nil {
		return nil, f
	}
	out := &node{line: p.line()}
	switch v := token.(type) {
	case string:
		out.kind, out.text = text, v
	case json.Number:
		out.kind, out.text = number, v.String()
	case bool:
		out.kind, out.text = boolean, map[bool]string{true: "true", false: "false"}[v]
	case nil:
		out.kind = nothing
	case json.Delim:
		if v == '[' {
			out.kind = list
			return out, p.rest(nil, depth)
		}
		out.kind = mapping
		return out, p.rest(out, depth)
	}
	return out, nil
}

// rest reads what stands in an object, or in a list if into is nil, up to its end.
func (p *jsonParser) rest(into *node, depth int) *fault {
	known := map[string]int{}
	for p.decoder.More() {
		if into == nil {
			if _, f := p.value(depth + 1); f != nil {
				return f
			}
			continue
		}
		token, f := p.token()
		if f != nil {
			return f
		}
		key, line := token.(string), p.line()
		if before, twice := known[key]; twice {
			return faultf(line, "%.60q stands here a second time, after line %d", key, before)
		}
		known[key] = line
		value, f := p.value(depth + 1)
		if f != nil {
			return f
		}
		into.entries = append(into.entries, entry{key, line, value})
	}
	_, f := p.token()
	return f
}
