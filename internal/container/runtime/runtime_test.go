// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import (
	"slices"
	"testing"

	"github.com/copenclose/copenclose/internal/owner"
)

func TestFromEnvironment(t *testing.T) {
	for _, c := range []struct {
		name, variable, value string
		path                  string
		refused               bool
	}{
		{"docker", "DOCKER_HOST", "unix:///x/docker.sock", "/x/docker.sock", false},
		{"podman", "CONTAINER_HOST", "unix:///x/podman.sock", "/x/podman.sock", false},
		{"docker", "DOCKER_HOST", "", "", false},
		{"docker", "DOCKER_HOST", "tcp://192.0.2.1:2375", "", true},
		{"podman", "CONTAINER_HOST", "ssh://core@192.0.2.1/run/podman/podman.sock", "", true},
		{"docker", "DOCKER_HOST", "unix://", "", true},
		{"docker", "DOCKER_HOST", "unix://relative", "", true},
		{"containerd", "DOCKER_HOST", "unix:///x/docker.sock", "", false},
		{"podman", "DOCKER_HOST", "unix:///x/docker.sock", "", false},
	} {
		t.Setenv("DOCKER_HOST", "")
		t.Setenv("CONTAINER_HOST", "")
		t.Setenv(c.variable, c.value)
		path, err := FromEnvironment(c.name)
		if path != c.path || (err != nil) != c.refused {
			t.Errorf("%s with %s=%s: %q, %v", c.name, c.variable, c.value, path, err)
		}
		for _, by := range []owner.ID{owner.Root, 1000} {
			if got := Sockets(c.name, by); slices.Contains(got, c.path) == (c.path == "") || (by == owner.Root && len(got) == 0) {
				t.Errorf("%s of %s with %s=%s: %q", c.name, by, c.variable, c.value, got)
			}
		}
		if got := Sockets(c.name, owner.Nobody); len(got) > 0 {
			t.Errorf("%s of nobody: %q", c.name, got)
		}
	}
}
