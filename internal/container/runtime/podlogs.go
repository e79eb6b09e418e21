// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/owner"
)

// PodLogs are the folders in which the kubelet keeps the logs of a node's pods. Their
// names are enough to name containers where no CRI socket can be reached; no file in
// them is read. There is no image.
//
//	Containers/POD_NAMESPACE_CONTAINER-ID.log -> Pods/NAMESPACE_POD_UID/CONTAINER/N.log
//
// See legacyLogSymlink and BuildPodLogsDirectory in pkg/kubelet/kuberuntime of
// Kubernetes 1.36. No name has an underscore.
type PodLogs struct{ Containers, Pods string }

// NodeLogs is where they are on a node.
var NodeLogs = PodLogs{"/var/log/containers", "/var/log/pods"}

// Folders returns the folders that Ask lists.
func (l PodLogs) Folders() []string { return []string{l.Containers, l.Pods} }

// Exist reports whether there are such folders.
func (l PodLogs) Exist() bool {
	for _, dir := range l.Folders() {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

// Ask returns what the names of the folders and files say of these containers. What
// stands there is believed about containers that root made, and only if nobody but root
// can put something there.
func (l PodLogs) Ask(queries []Query) ([]Details, error) {
	found := make(map[string]Details)
	byPod := make(map[string][]Query)
	for _, q := range queries {
		if q.PodUID != "" {
			byPod[q.PodUID] = append(byPod[q.PodUID], q)
		}
	}
	podsErr := list(l.Pods, func(name string) {
		d, ok := parsePodFolder(name)
		if !ok {
			return
		}
		for _, q := range byPod[d.PodUID] {
			// A sandbox has no log, and a new container none yet.
			d.ID = q.ID
			found[q.ID] = d
		}
	})
	containersErr := list(l.Containers, func(name string) {
		d, ok := parseContainerLog(name)
		if !ok {
			return
		}
		if _, wanted := queried(queries, d.ID); !wanted {
			return
		}
		d.Running = true
		if target, err := os.Readlink(filepath.Join(l.Containers, name)); err == nil {
			if pod, ok := parsePodFolder(filepath.Base(filepath.Dir(filepath.Dir(target)))); ok && pod.Pod == d.Pod && pod.Namespace == d.Namespace {
				d.PodUID = pod.PodUID
			}
		}
		found[d.ID] = d
	})
	if podsErr != nil && containersErr != nil {
		return nil, errors.Join(containersErr, podsErr)
	}
	return slices.Collect(maps.Values(found)), nil
}

// list calls each for every name in a folder of root's.
func list(folder string, each func(name string)) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer dir.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return err
	}
	if who := owner.Of(&st); who != owner.Root {
		return fmt.Errorf("%s can be changed by %s", folder, who)
	}
	for {
		names, err := dir.Readdirnames(1000)
		for _, name := range names {
			each(name)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// parsePodFolder takes apart NAMESPACE_POD_UID.
func parsePodFolder(name string) (d Details, ok bool) {
	parts := strings.Split(name, "_")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return Details{}, false
	}
	return Details{Namespace: parts[0], Pod: parts[1], PodUID: parts[2]}, true
}

// parseContainerLog takes apart POD_NAMESPACE_CONTAINER-ID.log.
func parseContainerLog(name string) (d Details, ok bool) {
	rest, id := cutLast(strings.TrimSuffix(name, ".log"), "-")
	parts := strings.Split(rest, "_")
	if !IsID(id) || len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return Details{}, false
	}
	return Details{ID: id, Pod: parts[0], Namespace: parts[1], Name: parts[2]}, true
}
