// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// kubelet is what make test-k8s builds.
var kubelet = fromEnvironment("KUBELET", "../build/kubernetes/kubelet")

// A pod of the kubelet has the names and the uid that the kubelet itself says, with the
// runtime's socket and with the names of logs alone; and the pod of the DaemonSet that is
// shipped runs with what that allows it, becomes ready, and counts what other pods do.
func TestKubelet(t *testing.T) {
	if _, err := os.Stat(kubelet); err != nil {
		t.Skipf("%v: make test-k8s makes it", err)
	}
	n := startNode(t)
	bySocket, byLogs := newLines(), newLines()
	s := startTo(t, bySocket, "-I", "-o", "json", "--runtime-socket", n.containerd.socket)
	l := startTo(t, byLogs, "-c", "prod/shop-*", "-o", "json")

	n.run(t, "copenclose", daemonSetPod(t))
	n.run(t, "shop", fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: shop, namespace: prod}
spec:
  containers:
    - name: app
      image: %s
      imagePullPolicy: Never
      command: [sh, -c, %q]
      volumeMounts: [{name: trigger, mountPath: /trigger, readOnly: true}]
  volumes: [{name: trigger, hostPath: {path: %s}}]
`, busyboxImage, steady, trigger64))
	shop, daemon := n.ready(t, "shop-node-1"), n.ready(t, "copenclose-node-1")

	app := shop.id(t, "app")
	want := fmt.Sprint(event{
		"id": app, "name": "app", "image": busyboxImage, "runtime": "containerd",
		"pod": "shop-node-1", "namespace": "prod", "pod_uid": shop.Metadata.UID,
	})
	bySocket.await(t, named(app, "app"))
	s.stop()
	events := parseJSON(t, bySocket.String())
	noneUnknown(t, events)
	all := by(events, app)
	if last := all[len(all)-1].container(); fmt.Sprint(last) != want {
		t.Errorf("with the socket: got %v, want %v", last, want)
	}

	byLogs.await(t, named(app, "app"))
	l.stop()
	all = by(parseJSON(t, byLogs.String()), app)
	last := all[len(all)-1].container()
	for key, of := range map[string]string{"name": "app", "pod": "shop-node-1", "namespace": "prod", "pod_uid": shop.Metadata.UID} {
		if last.text(key) != of {
			t.Errorf("by the names of logs: %s is %q, want %q", key, last.text(key), of)
		}
	}

	url := "http://" + net.JoinHostPort(daemon.Status.PodIP, "9435") + "/metrics"
	opens := func() float64 {
		for labels, n := range scrape(t, url, "copenclose_calls_total") {
			if strings.Contains(labels, `container="app"`) && strings.Contains(labels, `namespace="prod"`) &&
				strings.Contains(labels, `pod="shop-node-1"`) && strings.Contains(labels, `syscall="openat"`) {
				return n
			}
		}
		return 0
	}
	before := 0.0
	eventually(t, "the DaemonSet's pod counts the opens of another pod", func() error {
		if before = opens(); before == 0 {
			return errors.New("none of prod/shop-node-1")
		}
		return nil
	})
	eventually(t, "it goes on counting", func() error {
		if after := opens(); after <= before {
			return fmt.Errorf("%v, and %v before", after, before)
		}
		return nil
	})
}

// daemonSetPod returns the pod of packaging/kubernetes/base as a static one. That may
// refer to no object of an API server, as is a service account.
func daemonSetPod(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../packaging/kubernetes/base/daemonset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, template, found := strings.Cut(string(text), "\n  template:\n")
	if !found {
		t.Fatal("the DaemonSet has no template")
	}
	pod := "apiVersion: v1\nkind: Pod\n" + regexp.MustCompile(`(?m)^    `).ReplaceAllString(template, "")
	for old, other := range map[string]string{
		"\nmetadata:\n":                        "\nmetadata:\n  name: copenclose\n  namespace: copenclose\n",
		"\n  serviceAccountName: copenclose\n": "\n",
		"image: copenclose:latest":             "image: " + toolImage,
	} {
		if strings.Count(pod, old) != 1 {
			t.Fatalf("%d times %q in\n%s", strings.Count(pod, old), old, pod)
		}
		pod = strings.Replace(pod, old, other, 1)
	}
	return pod
}

const toolImage = "docker.io/copenclose/node:1"

// A kubeletNode is a kubelet without an API server, and its containerd.
type kubeletNode struct {
	containerd *containerd
	pods       string // the folder of static pods
	url        string // of the kubelet
	client     *http.Client
}

// pod is what the kubelet says of a pod.
type pod struct {
	Metadata struct{ Name, UID string }
	Status   struct {
		PodIP             string
		Conditions        []struct{ Type, Status string }
		ContainerStatuses []struct{ Name, ContainerID string }
	}
}

// id returns the id of a container of the pod.
func (p *pod) id(t *testing.T, container string) string {
	t.Helper()
	for _, c := range p.Status.ContainerStatuses {
		if c.Name == container {
			return strings.TrimPrefix(c.ContainerID, "containerd://")
		}
	}
	t.Fatalf("no container %s in %v", container, p)
	return ""
}

func startNode(t *testing.T) *kubeletNode {
	t.Helper()
	docker(t).staticImage(t, toolImage)
	n := &kubeletNode{containerd: startContainerd(t, toolImage)}
	dir := n.containerd.dir
	n.pods = dir + "/pods"
	_, port, _ := net.SplitHostPort(freeAddress(t))
	_, health, _ := net.SplitHostPort(freeAddress(t))
	n.url = "https://127.0.0.1:" + port
	n.client = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // its certificate is its own
	}}
	for file, text := range map[string]string{
		"cni/10-bridge.conf": `{"cniVersion": "0.4.0", "name": "pods", "type": "bridge", "bridge": "` + bridge + `", "isGateway": true,
			"ipam": {"type": "host-local", "subnet": "10.254.77.0/24", "dataDir": "` + dir + `/ipam", "routes": [{"dst": "0.0.0.0/0"}]}}`,
		"kubelet.yaml": fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
port: %s
healthzPort: %s
staticPodPath: %s
containerRuntimeEndpoint: unix://%s
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
makeIPTablesUtilChains: false
enforceNodeAllocatable: []
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 0%%, nodefs.available: 0%%, imagefs.available: 0%%, nodefs.inodesFree: 0%%}
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
`, port, health, n.pods, n.containerd.socket),
		"pods/.keep": "",
	} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "delete", bridge).Run() })
	keepSettings(t, "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes")
	t.Cleanup(removePodCgroups)
	// The kubelet mounts its folder onto itself.
	t.Cleanup(func() { _ = unix.Unmount(dir+"/kubelet", unix.MNT_DETACH) })
	t.Cleanup(func() {
		_ = os.RemoveAll("/var/log/pods")
		_ = os.RemoveAll("/var/log/containers")
	})
	startService(t, "http://127.0.0.1:"+health+"/healthz", nil, kubelet, "--config", dir+"/kubelet.yaml", "--root-dir", dir+"/kubelet", "--hostname-override", "node-1")
	t.Cleanup(func() { n.removePods(t) })
	return n
}

// bridge is the network of the pods.
const bridge = "copenclose-k8s"

// run gives the kubelet a pod to run.
func (n *kubeletNode) run(t *testing.T, name, pod string) {
	t.Helper()
	// At once and whole.
	if err := os.WriteFile(n.containerd.dir+"/"+name, []byte(pod), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(n.containerd.dir+"/"+name, n.pods+"/"+name+".yaml"); err != nil {
		t.Fatal(err)
	}
}

// ready waits until the kubelet says that a pod is ready.
func (n *kubeletNode) ready(t *testing.T, name string) *pod {
	t.Helper()
	var found *pod
	eventually(t, "the kubelet says that "+name+" is ready", func() error {
		answer, err := n.client.Get(n.url + "/pods")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		var list struct{ Items []pod }
		if err := json.NewDecoder(answer.Body).Decode(&list); err != nil {
			return err
		}
		for i, p := range list.Items {
			if p.Metadata.Name != name {
				continue
			}
			for _, c := range p.Status.Conditions {
				if c.Type == "Ready" && c.Status == "True" {
					found = &list.Items[i]
					return nil
				}
			}
			return fmt.Errorf("not ready: %+v", p.Status)
		}
		return fmt.Errorf("not among %d pods", len(list.Items))
	})
	return found
}

// removePods has the kubelet end the pods.
func (n *kubeletNode) removePods(t *testing.T) {
	files, _ := filepath.Glob(n.pods + "/*.yaml")
	for _, file := range files {
		_ = os.Remove(file)
	}
	eventually(t, "the kubelet ends its pods", func() error {
		// The test's own context is done by now.
		answer, err := n.containerd.ListPodSandbox(context.Background(), &cri.ListPodSandboxRequest{})
		if err != nil {
			return err
		}
		for _, s := range answer.Items {
			if s.State == cri.PodSandboxState_SANDBOX_READY {
				return fmt.Errorf("%s runs", s.Metadata.Name)
			}
		}
		for _, s := range answer.Items {
			if _, err := n.containerd.RemovePodSandbox(context.Background(), &cri.RemovePodSandboxRequest{PodSandboxId: s.Id}); err != nil {
				return err
			}
		}
		return nil
	})
}
