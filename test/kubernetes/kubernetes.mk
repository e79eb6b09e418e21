# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# A kubelet from the Go proxy, in a module of its own: with Debian's containerd it runs
# static pods, which need no API server. It takes half an hour to build on two cores.

KUBELET := build/kubernetes/kubelet

$(KUBELET): test/kubernetes/go.mod test/kubernetes/go.sum
	@echo '  GO       $@'
	$(Q)cd test/kubernetes && $(ENGINE_BUILD) k8s.io/kubernetes/cmd/kubelet

.PHONY: test-k8s
test-k8s: all static $(TRIGGERS) $(KUBELET) ## Names of a real kubelet's pods, and the DaemonSet's pod on it
	$(Q)$(SUDO) packaging/install-missing docker.io containernetworking-plugins
	$(Q)$(GO) test -c -o build/test/e2e.test ./test
	$(Q)cd test && $(SUDO) ../build/test/e2e.test -test.timeout 20m -test.v -test.run '^TestKubelet$$' $(ARGS)
