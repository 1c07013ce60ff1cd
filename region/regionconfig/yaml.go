package regionconfig

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dogpile-go/dogpile/region"
)

// YAML reads a setup from YAML. name is the file's, for errors. The environment has no
// say, and what only ConfigureAll can find wrong is not looked for. The error is a
// [*region.SetupError].
func YAML(name string, data []byte) (region.Setup, error) {
	return read(name, data, parseYAML)
}

// yamlLine is how the parser tells of a line.
var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

func parseYAML(data []byte) (root *node, f *fault) {
	defer func() {
		if v := recover(); v != nil {
			root, f = nil, faultf(1, "the file cannot be read as YAML: %v", v)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, more yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return &node{kind: nothing, line: 1}, nil
	case err != nil:
		return nil, yamlFault(data, err)
	}
	switch err := decoder.Decode(&more); {
	case err == nil:
		return nil, faultf(more.Line, "a second document begins here; a setup is one document")
	case !errors.Is(err, io.EOF):
		return nil, yamlFault(data, err)
	}
	w := walk{open: map[*yaml.Node]bool{}}
	return w.node(&document, 0)
}

// Errors that the library counts lines from zero for, and one for which it tells none.
var (
	fromZero      = regexp.MustCompile(`^(did not find expected (key|node content|'|<)|found (undefined|duplicate|incompatible))`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '([^']+)'`)
)

// yamlFault takes the line out of an error's text, where the library puts it.
func yamlFault(data []byte, err error) *fault {
	message := strings.ReplaceAll(err.Error(), "\n", " ")
	found := yamlLine.FindStringSubmatch(message)
	line, _ := strconv.Atoi(found[1])
	message = message[len(found[0]):]
	if fromZero.MatchString(message) {
		line++
	}
	if anchor := unknownAnchor.FindStringSubmatch(message); anchor != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+anchor[1]))
		line = 1 + bytes.Count(before, []byte("\n"))
	}
	if strings.HasPrefix(message, "mapping values are not allowed") {
		message += "; a text that ends with a colon, such as \"memory:\", stands in quotes"
	}
	return faultf(line, "this is no YAML: %.200s", message)
}

// walk makes nodes of what the parser has found, within limits: an alias may stand for
// something large, many times, or for itself.
type walk struct {
	nodes int
	open  map[*yaml.Node]bool // the aliases' targets that are being walked
}

func (w *walk) node(n *yaml.Node, depth int) (*node, *fault) {
	if w.nodes++; w.nodes > mostNode {
		return nil, faultf(n.Line, "the file has more than %d values, with those that aliases repeat", mostNode)
	}
	if depth > deepest {
		return nil, faultf(n.Line, "the file is nested deeper than %d levels", deepest)
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return w.node(n.Content[0], depth)
	case yaml.AliasNode:
		if w.open[n.Alias] {
			return nil, faultf(n.Line, "the anchor %.40q contains itself", n.Value)
		}
		w.open[n.Alias] = true
		defer delete(w.open, n.Alias)
		return w.node(n.Alias, depth+1)
	case yaml.SequenceNode:
		return &node{kind: list, line: n.Line}, nil
	case yaml.MappingNode:
		return w.mapping(n, depth)
	}
	out := &node{kind: text, text: n.Value, line: n.Line}
	switch n.ShortTag() {
	case "!!int", "!!float":
		out.kind = number
	case "!!bool":
		out.kind = boolean
	case "!!null":
		out.kind = nothing
	}
	return out, nil
}

func (w *walk) mapping(n *yaml.Node, depth int) (*node, *fault) {
	out := &node{kind: mapping, line: n.Line}
	known := map[string]int{}
	var merged []entry
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			return nil, faultf(key.Line, "a key is a list or a mapping; keys are names")
		}
		if key.ShortTag() == "!!merge" {
			entries, f := w.merge(value, depth)
			if f != nil {
				return nil, f
			}
			merged = append(merged, entries...)
			continue
		}
		if before, twice := known[key.Value]; twice {
			return nil, faultf(key.Line, "%.60q stands here a second time, after line %d", key.Value, before)
		}
		known[key.Value] = key.Line
		child, f := w.node(value, depth+1)
		if f != nil {
			return nil, f
		}
		out.entries = append(out.entries, entry{key.Value, key.Line, child})
	}
	for _, e := range merged { // what stands in the mapping itself counts, and then the first
		if _, own := known[e.key]; !own {
			known[e.key] = e.line
			out.entries = append(out.entries, e)
		}
	}
	return out, nil
}

// merge returns the entries that <<: brings into a mapping.
func (w *walk) merge(value *yaml.Node, depth int) (entries []entry, f *fault) {
	if target := value; target.Kind == yaml.SequenceNode {
		for _, one := range target.Content {
			some, f := w.merge(one, depth+1)
			if f != nil {
				return nil, f
			}
			entries = append(entries, some...)
		}
		return entries, nil
	}
	from, f := w.node(value, depth+1)
	if f != nil {
		return nil, f
	}
	if from.kind != mapping {
		return nil, faultf(value.Line, "<<: stands before %v, and not before a mapping", from.kind)
	}
	return from.entries, nil
}
