// The Gateway API's definitions, as their authors publish them.
module trimtab.dev/tests/gateway

go 1.22

require sigs.k8s.io/gateway-api v1.4.0
