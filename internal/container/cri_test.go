// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// criServer answers what containerd answers; the wire is gRPC's own.
type criServer struct {
	cri.UnimplementedRuntimeServiceServer
	containers []*cri.Container
	sandboxes  []*cri.PodSandbox
	images     map[string]string // by container
}

func (s *criServer) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{RuntimeName: "containerd", RuntimeApiVersion: "v1"}, nil
}

func (s *criServer) ListContainers(_ context.Context, r *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	list := slices.DeleteFunc(slices.Clone(s.containers), func(c *cri.Container) bool {
		return r.GetFilter().GetId() != "" && c.Id != r.Filter.Id
	})
	return &cri.ListContainersResponse{Containers: list}, nil
}

func (s *criServer) ListPodSandbox(_ context.Context, r *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	list := slices.DeleteFunc(slices.Clone(s.sandboxes), func(c *cri.PodSandbox) bool {
		return r.GetFilter().GetId() != "" && c.Id != r.Filter.Id
	})
	return &cri.ListPodSandboxResponse{Items: list}, nil
}

func (s *criServer) ContainerStatus(_ context.Context, r *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	image, ok := s.images[r.ContainerId]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "container %q: not found", r.ContainerId)
	}
	return &cri.ContainerStatusResponse{Status: &cri.ContainerStatus{
		Id: r.ContainerId, CreatedAt: 1, Image: &cri.ImageSpec{Image: image}, Labels: map[string]string{"a": "b"},
	}}, nil
}

func serveCRI(t *testing.T, socket string, s cri.RuntimeServiceServer) *grpc.Server {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	cri.RegisterRuntimeServiceServer(server, s)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return server
}

func TestCRINames(t *testing.T) {
	const (
		idD = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
		idE = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
	)
	socket := socketPath(t)
	serveCRI(t, socket, &criServer{
		containers: []*cri.Container{
			{ // by the kubelet, which asks for an image by id
				Id: idA, PodSandboxId: idC, Metadata: &cri.ContainerMetadata{Name: "app", Attempt: 3},
				Image: &cri.ImageSpec{Image: "sha256:0123"}, State: cri.ContainerState_CONTAINER_RUNNING, CreatedAt: 1700000000,
				Labels: map[string]string{
					"io.kubernetes.pod.name": "shop-7d4", "io.kubernetes.pod.namespace": "prod",
					"io.kubernetes.pod.uid": "uid", "io.kubernetes.container.name": "app",
				},
			},
			{ // by crictl
				Id: idB, PodSandboxId: idC, Metadata: &cri.ContainerMetadata{Name: "tool"},
				Image: &cri.ImageSpec{Image: "busybox:1", Annotations: map[string]string{"a": "b"}}, State: cri.ContainerState_CONTAINER_RUNNING,
			},
			{
				Id: idD, PodSandboxId: idC, Metadata: &cri.ContainerMetadata{Name: "side"},
				Image: &cri.ImageSpec{Image: "sha256:4567", UserSpecifiedImage: "envoy:2"}, State: cri.ContainerState_CONTAINER_RUNNING,
			},
		},
		sandboxes: []*cri.PodSandbox{
			{Id: idC, Metadata: &cri.PodSandboxMetadata{Name: "shop-7d4", Namespace: "prod", Uid: "uid"}, CreatedAt: 1},
			{Id: idE, Metadata: &cri.PodSandboxMetadata{Name: "other"}},
		},
		images: map[string]string{idA: "registry.example/shop:1"},
	})

	r, changes := registry(t, Config{Sockets: []string{socket}})
	// All at once, and then one.
	for i, id := range []string{idA, idB, idC, idD} {
		r.Made(uint64(i), "/kubepods/pod/cri-containerd-"+id+".scope")
		if err := os.MkdirAll(filepath.Join(dirOf(t, r), "kubepods/pod/cri-containerd-"+id+".scope"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	started(t, r)
	for cgroup, want := range []struct{ label, image string }{
		{"shop-7d4/app", "registry.example/shop:1"},
		{"shop-7d4/tool", "busybox:1"},
		{"shop-7d4", ""},
		{"shop-7d4/side", "envoy:2"},
	} {
		if err := r.WaitForNames(t.Context()); err != nil {
			t.Fatal(err)
		}
		c, _ := r.Lookup(uint64(cgroup))
		if c.Label != want.label || c.Image != want.image || c.Namespace != "prod" || c.PodUID != "uid" {
			t.Errorf("got %+v, want %+v", c, want)
		}
	}
	r.Made(9, "/kubepods/pod/cri-containerd-"+idE+".scope")
	until(t, changes, "a sandbox asked for alone", func(c change) bool { return c.c != nil && c.c.Pod == "other" })
}

func TestCRIRefuses(t *testing.T) {
	socket := socketPath(t)
	// containerd without its CRI plugin.
	server := serveCRI(t, socket, cri.UnimplementedRuntimeServiceServer{})
	notes := make(chan string, 100)
	r, changes := registry(t, Config{Sockets: []string{socket}, Note: func(s string) { notes <- s }})
	r.Made(1, "/kubepods/pod/cri-containerd-"+idA+".scope")
	started(t, r)
	note := until(t, notes, "the note", func(string) bool { return true })
	t.Log(note)
	server.Stop()
	serveCRI(t, socket, &criServer{containers: []*cri.Container{{
		Id: idA, Metadata: &cri.ContainerMetadata{Name: "app"}, State: cri.ContainerState_CONTAINER_RUNNING,
	}}})
	until(t, changes, "the name", hasName("app"))
	if len(notes) > 0 {
		t.Errorf("another note: %s", <-notes)
	}
}
