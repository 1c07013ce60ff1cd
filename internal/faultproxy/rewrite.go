package faultproxy

import "bytes"

// substitution is one Rewrite.
type substitution struct{ old, new []byte }

// Rewrite puts new in the place of old wherever it is in what servers send, from now
// on. Both must have the same length, since protocols say in front of a text how long
// it is. Of several substitutions that fit at one place the first one is made, and what
// was put in is not looked at again.
//
// Where the network delivers old in two parts, that works as well: the proxy holds the
// end of what came back, if old may begin there, until more comes or for 20 ms.
func (p *Proxy) Rewrite(old, new []byte) {
	p.t.Helper()
	if len(old) != len(new) || len(old) == 0 {
		p.t.Errorf("Rewrite(%q, %q): want two texts of the same length that are not empty", old, new)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rewrites = append(p.rewrites[:len(p.rewrites):len(p.rewrites)], substitution{bytes.Clone(old), bytes.Clone(new)})
}

func (p *Proxy) currentRewrites() []substitution {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rewrites
}

// rewriter makes substitutions in what one server sends on one connection.
type rewriter struct {
	held []byte // what came last and may be the beginning of an old
}

// rewrite returns what may be passed on after b has come, and whether something is
// held. If b is empty, nothing has come for a while, and what was held is passed on.
func (r *rewriter) rewrite(b []byte, ended bool, all []substitution) (out []byte, held bool) {
	waited := len(b) == 0 || ended
	if len(r.held) > 0 {
		b = append(r.held, b...)
		r.held = nil
	}
next:
	for i := 0; i < len(b); {
		for _, s := range all {
			if bytes.HasPrefix(b[i:], s.old) {
				i += copy(b[i:], s.new)
				continue next
			}
			if !waited && bytes.HasPrefix(s.old, b[i:]) {
				r.held = bytes.Clone(b[i:])
				return b[:i], true
			}
		}
		i++
	}
	return b, false
}
