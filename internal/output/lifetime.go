// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// lifetimeFields are of what was closed.
var lifetimeFields = []Field{
	lifetime("lifetime_ns", "lifetime", "how long the descriptor that is closed was open; in JSON and tsv in ns", Duration, 8, func(l *bpf.Lifetime) Value {
		if l.How == bpf.HowUnknown {
			return Value{}
		}
		return Value{Kind: Duration, number: l.Lived}
	}),
	lifetime("made_by", "", "which call made it; inherited where that was a fork", Symbol, 8, func(l *bpf.Lifetime) Value {
		if l.How == bpf.HowInherited {
			return symbol("inherited")
		}
		return creator(l.How)
	}),
	lifetime("file_lifetime_ns", "file_lifetime", "how long ago its file was opened, which dup, fork and SCM_RIGHTS pass on; in JSON and tsv in ns", Duration, 13, func(l *bpf.Lifetime) Value {
		if l.FileHow == bpf.HowUnknown {
			return Value{}
		}
		return Value{Kind: Duration, number: l.FileLived}
	}),
	lifetime("opened_by.call", "", "which call opened the file", Symbol, 8, func(l *bpf.Lifetime) Value { return creator(l.FileHow) }),
	lifetime("opened_by.pid", "", "of which process", Unsigned, 8, opener(func(l *bpf.Lifetime) uint32 { return l.OpenerPID })),
	lifetime("opened_by.fd", "", "as which fd", Unsigned, 8, opener(func(l *bpf.Lifetime) uint32 { return l.OpenerFD })),
	lifetime("last", "", "nobody else had the file when the call was made, so that this ends it", True, 4, func(l *bpf.Lifetime) Value { return truth(l.IsLast) }),
}

func lifetime(name, column, about string, kind Kind, width int, of func(*bpf.Lifetime) Value) Field {
	return Field{Name: name, Column: column, About: about, Kind: kind, width: width, right: kind == Duration || kind == Unsigned,
		needs: needsLifetime, facets: ofCall, calls: closes, closed: true, when: condition{all: hasLifetime},
		value: func(e *stream.Event, _ []byte) Value { return of(e.Lifetime) }}
}

// closes reports whether a syscall closes something.
func closes(s bpf.Syscall) bool { return s.Closes }

func opener(of func(*bpf.Lifetime) uint32) func(*bpf.Lifetime) Value {
	return func(l *bpf.Lifetime) Value {
		if l.FileHow == bpf.HowUnknown {
			return Value{}
		}
		return unsigned(of(l))
	}
}

// creator returns the name of the call of which n is 1 and its index, None for none.
func creator(n uint8) Value {
	if n == bpf.HowUnknown || int(n) > len(bpf.Creators) {
		return Value{}
	}
	return symbol(bpf.Creators[n-1])
}
