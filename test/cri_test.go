// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The pod of TestContainerCRI, as the kubelet would have it.
const (
	podName      = "shop-7d4"
	podNamespace = "prod"
	podUID       = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
	podCgroup    = "/kubepods/besteffort/pod" + podUID
)

// A container that the CRI plugin of a real containerd has made is told with its
// pod, and so is the pod's sandbox.
func TestContainerCRI(t *testing.T) {
	c := startContainerd(t)
	sandbox, app := c.pod(t)

	table := newLines()
	r := startTo(t, table, "-I", "-o", "json", "--runtime-socket", c.socket)
	chosen := start(t, "-c", podNamespace+"/"+podName, "-o", "json", "--runtime-socket", c.socket)
	wide := newLines()
	w := startTo(t, wide, "-I", "-o", "wide", "--runtime-socket", c.socket)
	table.await(t, named(app, "app"))
	wide.await(t, regexp.MustCompile(`(?m)^\S+ +\S+ +`+podName+`/app +\d+ `))
	w.stop()
	r.stop()

	events := parseJSON(t, table.String())
	validate(t, table.String())
	noneUnknown(t, events)
	all := by(events, app)
	want := event{"id": app, "name": "app", "image": busyboxImage, "runtime": "containerd", "pod": podName, "namespace": podNamespace, "pod_uid": podUID}
	if last := all[len(all)-1].container(); fmt.Sprint(last) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", last, want)
	}
	for _, e := range all {
		if e.container().text("runtime") != "containerd" {
			t.Errorf("not of containerd: %v", e)
		}
	}
	res := chosen.stop()
	if len(by(res.events, app)) == 0 {
		t.Errorf("-c %s/%s shows nothing", podNamespace, podName)
	}
	for _, e := range res.events {
		if e.container().text("pod") != podName {
			t.Errorf("-c %s/%s shows %v", podNamespace, podName, e)
		}
	}

	said, err := exec.Command(copenclose, "containers", "-o", "json", "--runtime-socket", c.socket).Output()
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]event)
	for _, c := range parseJSON(t, string(said)) {
		listed[c.text("id")] = c
	}
	for id, name := range map[string]string{app: "app", sandbox: ""} {
		l := listed[id]
		if l.text("name") != name || l.text("pod") != podName || l.text("namespace") != podNamespace ||
			l.text("pod_uid") != podUID || l.text("qos") != "besteffort" || l.text("runtime") != "containerd" {
			t.Errorf("listed is %v, want %q in %s/%s", l, name, podNamespace, podName)
		}
	}
}

// Where no socket of CRI can be reached, names come from the folders in which the
// kubelet keeps logs, also with all that is not needed given up.
func TestPodLogs(t *testing.T) {
	for _, socket := range []string{"/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock"} {
		if _, err := os.Stat(socket); err == nil {
			t.Skipf("%s can be reached", socket)
		}
	}
	c := startContainerd(t)
	_, app := c.pod(t)
	// As the kubelet makes them.
	folder := "/var/log/pods/" + podNamespace + "_" + podName + "_" + podUID
	link := "/var/log/containers/" + podName + "_" + podNamespace + "_app-" + app + ".log"
	for _, dir := range []string{folder + "/app", filepath.Dir(link)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(folder+"/app/0.log", link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.Remove(link)
		os.RemoveAll(folder)
		os.Remove("/var/log/containers")
		os.Remove("/var/log/pods")
	})
	table := newLines()
	r := startTo(t, table, "-c", podNamespace+"/"+podName, "-o", "json")
	table.await(t, named(app, "app"))
	r.stderr.await(t, regexp.MustCompile(`containerd does not listen on .* come from /var/log/containers`))
	r.stop()
	noneUnknown(t, parseJSON(t, table.String()))
}

// containerd is one with its CRI plugin and images of its own.
type containerd struct {
	dir, socket string
	cri.RuntimeServiceClient
}

const (
	busyboxImage = "docker.io/library/busybox:latest"
	sandboxImage = "docker.io/copenclose/sandbox:1" // does nothing, for ever
)

// startContainerd starts Debian's containerd, which comes with docker.io. It
// gets on where a sandbox is to share the host's network, and no priority that
// it may not have here is asked for. It has busybox, and these images of Docker's.
func startContainerd(t *testing.T, images ...string) *containerd {
	t.Helper()
	e := docker(t)
	e.image(t, "busybox")
	dir := socketDir(t)
	runc, err := filepath.Abs("images/runc-bounded")
	if err != nil {
		t.Fatal(err)
	}
	c := &containerd{dir: dir, socket: dir + "/containerd.sock"}
	config := fmt.Sprintf(`version = 2
root = "%[1]s/root"
state = "%[1]s/state"
[grpc]
address = "%[2]s"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "%[3]s"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "%[1]s/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "%[4]s"
`, dir, c.socket, sandboxImage, runc)
	if err := os.WriteFile(dir+"/config.toml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	daemon := exec.Command("containerd", "--config", dir+"/config.toml")
	daemon.Stdout, daemon.Stderr = log, log
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		_ = daemon.Wait()
	})

	connection, err := grpc.NewClient("unix://"+c.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	c.RuntimeServiceClient = cri.NewRuntimeServiceClient(connection)
	deadline := time.Now().Add(patience)
	for {
		_, err := c.Version(t.Context(), &cri.VersionRequest{}, grpc.WaitForReady(true))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(dir + "/log")
			t.Fatalf("containerd does not answer: %v\n%s", err, said)
		}
		time.Sleep(20 * time.Millisecond) // its plugins come after its socket
	}

	// No registry is asked for images.
	base := e.do(t, "create", "busybox")
	e.do(t, "commit", "--change", `CMD ["sleep","1000000"]`, base, strings.TrimPrefix(sandboxImage, "docker.io/"))
	e.do(t, "rm", base)
	t.Cleanup(func() { e.do(t, "rmi", strings.TrimPrefix(sandboxImage, "docker.io/")) })
	save := []string{"save", "--output", dir + "/images.tar", "busybox"}
	for _, image := range append(images, sandboxImage) {
		save = append(save, strings.TrimPrefix(image, "docker.io/"))
	}
	e.do(t, save...)
	out, err := exec.Command("ctr", "--address", c.socket, "--namespace", "k8s.io", "images", "import", dir+"/images.tar").CombinedOutput()
	if err != nil {
		t.Fatalf("ctr images import: %v\n%s", err, out)
	}
	return c
}

// pod runs a pod with a container that makes calls now and then, and returns
// their ids.
func (c *containerd) pod(t *testing.T) (sandbox, app string) {
	t.Helper()
	config := &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: podName, Namespace: podNamespace, Uid: podUID},
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent:    podCgroup,
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE}},
		},
	}
	t.Cleanup(removePodCgroups) // as the kubelet would
	ran, err := c.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test's own context is done by now.
		if _, err := c.StopPodSandbox(context.Background(), &cri.StopPodSandboxRequest{PodSandboxId: ran.PodSandboxId}); err != nil {
			t.Error(err)
		}
		if _, err := c.RemovePodSandbox(context.Background(), &cri.RemovePodSandboxRequest{PodSandboxId: ran.PodSandboxId}); err != nil {
			t.Error(err)
		}
	})
	created, err := c.CreateContainer(t.Context(), &cri.CreateContainerRequest{
		PodSandboxId:  ran.PodSandboxId,
		SandboxConfig: config,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: "app"},
			Image:    &cri.ImageSpec{Image: busyboxImage},
			Command:  []string{"sh", "-c", steady},
			Mounts:   []*cri.Mount{{ContainerPath: "/trigger", HostPath: trigger64, Readonly: true}},
			Linux:    &cri.LinuxContainerConfig{},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		t.Fatal(err)
	}
	return ran.PodSandboxId, created.ContainerId
}

// removePodCgroups removes the cgroups that pods had, of each hierarchy.
func removePodCgroups() {
	trees, _ := filepath.Glob("/sys/fs/cgroup/*/kubepods")
	for _, tree := range append(trees, "/sys/fs/cgroup/kubepods") {
		var dirs []string
		_ = filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) { // the innermost first
			_ = os.Remove(dir)
		}
	}
}
