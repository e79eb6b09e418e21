// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const uidOfPod = "214f3ba8-4b69-4bdb-a7d5-5ecc73f04ae9"

// nodeLogs makes the folders of a node with a pod of two containers.
func nodeLogs(t testing.TB) PodLogs {
	t.Helper()
	dir := t.TempDir()
	l := PodLogs{filepath.Join(dir, "containers"), filepath.Join(dir, "pods")}
	pod := filepath.Join(l.Pods, "prod_shop-7d4_"+uidOfPod)
	for _, dir := range []string{l.Containers, pod + "/app", pod + "/side"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"shop-7d4_prod_app-" + idA + ".log":  pod + "/app/0.log",
		"shop-7d4_prod_side-" + idB + ".log": "../../elsewhere/x_y_z/side/0.log",
		"nonsense":                           "/",
	} {
		if err := os.Symlink(target, filepath.Join(l.Containers, name)); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func TestPodLogs(t *testing.T) {
	l := nodeLogs(t)
	idC, idD := strings.Repeat("c", 64), strings.Repeat("d", 64)
	// A container, one whose link leads elsewhere, the sandbox, and one of no pod.
	queries := []Query{{idA, uidOfPod}, {idB, ""}, {idC, uidOfPod}, {idD, ""}}
	got, err := l.Ask(queries)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b Details) int { return strings.Compare(a.ID, b.ID) })
	want := []Details{
		{ID: idA, Name: "app", Pod: "shop-7d4", Namespace: "prod", PodUID: uidOfPod, Running: true},
		{ID: idB, Name: "side", Pod: "shop-7d4", Namespace: "prod", Running: true},
		{ID: idC, Pod: "shop-7d4", Namespace: "prod", PodUID: uidOfPod},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if !l.Exist() || (PodLogs{"/nowhere", "/nowhere"}).Exist() {
		t.Error("there are folders where there are none, or the other way round")
	}

	// One of both is enough, without either there is an error.
	if err := os.RemoveAll(l.Containers); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Ask(queries); err != nil || len(got) != 2 {
		t.Errorf("without %s: %+v, %v", l.Containers, got, err)
	}
	if err := os.Chmod(l.Pods, 0o777); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Ask(queries); err == nil || !strings.Contains(err.Error(), "more than one user") {
		t.Errorf("what everybody can change is believed: %+v, %v", got, err)
	}
}

func FuzzPodLogs(f *testing.F) {
	f.Add("shop-7d4_prod_app-"+idA+".log", "prod_shop-7d4_"+uidOfPod)
	f.Add("-.log", "__")
	f.Fuzz(func(t *testing.T, log, folder string) {
		if d, ok := parseContainerLog(log); ok && (!IsID(d.ID) || d.Pod == "" || d.Namespace == "" || d.Name == "") {
			t.Errorf("%q is %+v", log, d)
		}
		if d, ok := parsePodFolder(folder); ok && d.Namespace+"_"+d.Pod+"_"+d.PodUID != folder {
			t.Errorf("%q is %+v", folder, d)
		}
	})
}
