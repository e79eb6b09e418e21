// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import "testing"

func TestMatch(t *testing.T) {
	web := &Container{
		Runtime: "docker", ID: "3f2a1b4c5d6e7f8091a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4",
		Name: "web-1", Hostname: "front", Image: "registry.example:5000/team/nginx:1.24@sha256:abc",
		Label: "web-1",
	}
	pod := &Container{
		Runtime: "cri-o", ID: "80d85a3a585f1575028ebe468d83093c301eda20d37d1671ff2a0be50fc0e460",
		Name: "app", Pod: "shop-7d4", Namespace: "prod", Image: "busybox", Label: "shop-7d4/app",
	}
	unknown := &Container{Runtime: "docker", ID: "cafe", Label: "cafe"}

	for _, test := range []struct {
		patterns []string
		want     [3]bool // web, pod, unknown
	}{
		{[]string{"web*"}, [3]bool{true, false, false}},
		{[]string{"web"}, [3]bool{}},
		{[]string{"web-?,app"}, [3]bool{true, true, false}},
		{[]string{"web-1", "app"}, [3]bool{true, true, false}},
		{[]string{" web-1 , app "}, [3]bool{true, true, false}},
		{[]string{"front"}, [3]bool{true, false, false}},
		{[]string{"3f2a"}, [3]bool{true, false, false}},
		{[]string{"3f2"}, [3]bool{}},
		{[]string{"3f2a1b4c5d6f"}, [3]bool{}},
		{[]string{"3f2*"}, [3]bool{true, false, false}},
		{[]string{"shop-*"}, [3]bool{false, true, false}},
		{[]string{"prod/shop-*"}, [3]bool{false, true, false}},
		{[]string{"shop-*/app"}, [3]bool{false, true, false}},
		{[]string{"nginx"}, [3]bool{true, false, false}},
		{[]string{"nginx:1.*"}, [3]bool{true, false, false}},
		{[]string{"registry.example:5000/team/nginx"}, [3]bool{true, false, false}},
		{[]string{"busybox"}, [3]bool{false, true, false}},
		{[]string{"*"}, [3]bool{true, true, true}},
		{[]string{"!web*"}, [3]bool{false, true, true}},
		{[]string{"*,!busybox"}, [3]bool{true, false, true}},
		{[]string{"!busybox", "app,web-1"}, [3]bool{true, false, false}},
		{[]string{"*/*"}, [3]bool{false, true, false}},
		{nil, [3]bool{true, true, true}},
	} {
		match, err := Match(test.patterns)
		if err != nil {
			t.Errorf("%q: %v", test.patterns, err)
			continue
		}
		if got := [3]bool{match(web), match(pod), match(unknown)}; got != test.want {
			t.Errorf("%q: got %v, want %v", test.patterns, got, test.want)
		}
		if match(nil) {
			t.Errorf("%q: the host is a container", test.patterns)
		}
	}

	// What a container has inside is chosen together with it, and never leaves it out.
	inside := *web
	inside.Inner, inside.InnerRuntime, inside.Label = pod.ID, "containerd", "web-1/80d85a3a585f"
	for pattern, want := range map[string]bool{
		"web-1": true, "80d85a3a*": false, "80d8": false, "web-1/80d*": true, "other": false,
		"!web-1": false, "!80d8": true, "!80d85a3a*": true, "!web-1/*": true, "!front": true, "!nginx": false, "web*,!front": true,
	} {
		match, err := Match([]string{pattern})
		if err != nil {
			t.Fatal(err)
		}
		if match(&inside) != want {
			t.Errorf("%s: %v with another container inside", pattern, !want)
		}
	}

	for _, bad := range []string{"", "a,,b", "!", "[a"} {
		if _, err := Match([]string{bad}); err == nil {
			t.Errorf("%q is a pattern", bad)
		}
	}
}
