// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"fmt"
	"path"
	"strings"

	"github.com/copenclose/copenclose/internal/container/runtime"
)

// shortestID is how many digits of an id a pattern must have to be one.
const shortestID = 4

// Match makes a test of patterns, each a comma list. A pattern is a glob like
// path.Match's for the name, the hostname, the image, the pod or namespace/pod, or the
// label, or else the first digits of the id. Images are also known without registry,
// tag or digest. What runs in a container is chosen with it, or by the label of both.
//
// A pattern after ! leaves out; without any other pattern all the rest is in. It is not
// for the hostname, nor for what a container has inside: these a container can choose,
// and nothing that it does is to hide it. The host, nil, never is in.
func Match(patterns []string) (func(*Container) bool, error) {
	var in, out []string
	for _, list := range patterns {
		for p := range strings.SplitSeq(list, ",") {
			p = strings.TrimSpace(p)
			chosen := &in
			if left, ok := strings.CutPrefix(p, "!"); ok {
				p, chosen = left, &out
			}
			if p == "" {
				return nil, fmt.Errorf("empty pattern in %q", list)
			}
			if _, err := path.Match(p, ""); err != nil {
				return nil, fmt.Errorf("pattern %q: %w", p, err)
			}
			*chosen = append(*chosen, p)
		}
	}
	return func(c *Container) bool {
		return c != nil && (len(in) == 0 || isAny(c, in, c.Hostname, c.Label)) && !isAny(c, out)
	}, nil
}

// isAny reports whether one of the patterns is for c, or for what else it is called.
func isAny(c *Container, patterns []string, others ...string) bool {
	called := append(others, c.Name, label(c))
	if c.Pod != "" {
		called = append(called, c.Pod, c.Namespace+"/"+c.Pod)
	}
	if c.Image != "" {
		called = append(called, imageNames(c.Image)...)
	}
	for _, p := range patterns {
		if ok, _ := path.Match(p, c.ID); ok || len(p) >= shortestID && runtime.IsHex(p) && strings.HasPrefix(c.ID, p) {
			return true
		}
		for _, name := range called {
			if ok, _ := path.Match(p, name); ok && name != "" {
				return true
			}
		}
	}
	return false
}

// imageNames returns image and what else people call it: without digest,
// without tag, without registry and directory.
func imageNames(image string) []string {
	names := []string{image}
	image, _, _ = strings.Cut(image, "@")
	names = append(names, image)
	// A colon before a slash is that of the registry's port.
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		names = append(names, image[:i])
	}
	for _, n := range names[1:] {
		names = append(names, path.Base(n))
	}
	return names
}
