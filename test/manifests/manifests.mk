# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# What packaging/kubernetes has, held against what Kubernetes takes; no cluster is needed.

KUSTOMIZE     := build/tools/kustomize
KUBECONFORM   := build/tools/kubeconform
SCHEMAS       := build/manifests/schemas
# The last that the Go proxy has whole.
KUBERNETES    := k8s.io/kubernetes@v1.36.3
POD_MONITOR   := github.com/prometheus-operator/prometheus-operator@v0.85.0

$(KUSTOMIZE) $(KUBECONFORM): test/manifests/manifests.mk
	@echo '  TOOL     $@'
	$(Q)GOBIN=$(CURDIR)/build/tools GOFLAGS= CGO_ENABLED=0 $(GO) install $(if $(filter %kustomize,$@),sigs.k8s.io/kustomize/kustomize/v5@v5.8.2,github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0)
	$(Q)touch $@

# The folder that a module was unpacked into.
unpacked = $$($(GO) mod download -json $1 | sed -n 's/^\t"Dir": "\(.*\)",$$/\1/p')

$(SCHEMAS): test/manifests/schemas test/manifests/manifests.mk
	@echo '  SCHEMAS  $@'
	$(Q)rm -rf $@
	$(Q)test/manifests/schemas $@ $(call unpacked,$(KUBERNETES))/api/openapi-spec/swagger.json \
		$(call unpacked,$(POD_MONITOR))/example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml

.PHONY: test-manifests
test-manifests: $(KUSTOMIZE) $(KUBECONFORM) $(SCHEMAS) ## What Kubernetes says of packaging/kubernetes, offline
	$(Q)for folder in packaging/kubernetes/*/; do \
		$(KUSTOMIZE) build $$folder >build/manifests/made.yaml && \
		$(KUBECONFORM) -strict -summary -schema-location '$(SCHEMAS)/{{.ResourceKind}}{{.KindSuffix}}.json' build/manifests/made.yaml || exit 1; \
	done
