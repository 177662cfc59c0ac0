"""The fields of those Kubernetes kinds for which no tool has a schema: all that we may write, so that typos tell.

Of each custom resource the parts that are of use here, as its definition has them: KubeRay 1.7 (ray.io/v1), Prometheus
Operator (monitoring.coreos.com/v1), KEDA 2 (keda.sh/v1alpha1), cert-manager (cert-manager.io/v1), the Gateway API
(gateway.networking.k8s.io/v1) and Envoy Gateway (gateway.envoyproxy.io/v1alpha1). What they borrow from Kubernetes,
such as a pod's template, is marked as `Core` and checked against Kubernetes' own schema in its place. A field that is
missing here is added when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any

Document = Mapping[str, Any]


class Leaf(Enum):
    """What is no mapping and no list."""

    TEXT = "text"
    WHOLE = "a whole number"
    SWITCH = "true or false"
    EITHER = "a whole number or text"
    ANY = "anything"


@dataclass(frozen=True, slots=True)
class Each:
    """A list."""

    of: Fields


@dataclass(frozen=True, slots=True)
class Free:
    """A mapping whose keys are whoever's who writes it."""

    of: Fields


@dataclass(frozen=True, slots=True)
class Core:
    """A part that Kubernetes has itself: at ``place`` of a document that is otherwise as small as it may be."""

    kind: str
    place: tuple[str | int, ...]


type Fields = Leaf | Each | Free | Core | frozenset[str] | Mapping[str, Fields]
type Parts = dict[str, Fields]

TEXT, WHOLE, SWITCH, EITHER = Leaf.TEXT, Leaf.WHOLE, Leaf.SWITCH, Leaf.EITHER
TEXTS = Each(TEXT)
LABELS = Free(TEXT)


def one_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


def named(words: str, fields: Fields) -> Parts:
    """The same for several names."""
    return dict.fromkeys(words.split(), fields)


# -- shared parts ----------------------------------------------------------------------------------------------------

METADATA: Parts = {"name*": TEXT, "namespace": TEXT, "labels": LABELS, "annotations": LABELS}
SELECTOR: Parts = {
    "matchLabels": LABELS,
    "matchExpressions": Each(
        {"key*": TEXT, "operator*": one_of("In NotIn Exists DoesNotExist"), "values": TEXTS},
    ),
}
KEY: Parts = {"key*": TEXT, "name*": TEXT, "optional": SWITCH}
REFERENCE = named("group kind namespace", TEXT) | {"name*": TEXT}
POD_TEMPLATE: Parts = {"metadata": Core("Pod", ("metadata",)), "spec*": Core("Pod", ("spec",))}
CONTAINER: Parts = {name: Core("Pod", ("spec", "containers", 0, name)) for name in ("env", "envFrom", "resources")}
CONTAINER |= {name: Core("Pod", ("spec", "containers", 0, name)) for name in ("securityContext", "volumeMounts")}
SERVICE: Parts = {"metadata": Core("Service", ("metadata",)), "spec": Core("Service", ("spec",))}

# -- ray.io ----------------------------------------------------------------------------------------------------------

NETWORK_RULES: Parts = {
    "ingressRules": Core("NetworkPolicy", ("spec", "ingress")),
    "egressRules": Core("NetworkPolicy", ("spec", "egress")),
}
CREDENTIAL: Parts = {"value": TEXT, "valueFrom": Core("Pod", ("spec", "containers", 0, "env", 0, "valueFrom"))}
HEAD_GROUP: Parts = {
    "rayStartParams": LABELS,
    "serviceType": one_of("ClusterIP NodePort LoadBalancer"),
    "headService": SERVICE,
    "enableIngress": SWITCH,
    "labels": LABELS,
    "resources": LABELS,
    "template*": POD_TEMPLATE,
}
WORKER_GROUP: Parts = {
    "groupName*": TEXT,
    "replicas": WHOLE,
    "minReplicas*": WHOLE,
    "maxReplicas*": WHOLE,
    **named("idleTimeoutSeconds numOfHosts priority", WHOLE),
    "rayStartParams": LABELS,
    "labels": LABELS,
    "resources": LABELS,
    "scaleStrategy": {"workersToDelete": TEXTS},
    "suspend": SWITCH,
    "template*": POD_TEMPLATE,
}
AUTOSCALER: Parts = {
    "version": one_of("v1 v2"),
    "idleTimeoutSeconds": WHOLE,
    "upscalingMode": one_of("Default Aggressive Conservative"),
    "image": TEXT,
    "imagePullPolicy": one_of("Always Never IfNotPresent"),
    **CONTAINER,
}
FAULT_TOLERANCE: Parts = {
    "backend": one_of("redis rocksdb"),
    "redisAddress": TEXT,
    "redisUsername": CREDENTIAL,
    "redisPassword": CREDENTIAL,
    "externalStorageNamespace": TEXT,
    "storage": {
        "accessModes": TEXTS,
        **named("claimName storageClassName subPath", TEXT),
        "deletionPolicy": one_of("DeleteWithCluster Retain"),
        "size": EITHER,
    },
}
RAY_CLUSTER: Parts = {
    "rayVersion": TEXT,
    "enableInTreeAutoscaling": SWITCH,
    "autoscalerOptions": AUTOSCALER,
    "gcsFaultToleranceOptions": FAULT_TOLERANCE,
    "authOptions": {"mode": one_of("disabled token"), "secretName": TEXT, "enableK8sTokenAuth": SWITCH},
    "tlsOptions": {"enabled": SWITCH},
    "networkPolicy": {
        "mode": one_of("DenyAll DenyAllIngress DenyAllEgress"),
        "head": NETWORK_RULES,
        "worker": NETWORK_RULES,
        "workerGroups": Each({"groupName*": TEXT, **NETWORK_RULES}),
    },
    "headServiceAnnotations": LABELS,
    "headGroupSpec*": HEAD_GROUP,
    "workerGroupSpecs": Each(WORKER_GROUP),
    "suspend": SWITCH,
}
RAY_SERVICE: Parts = {
    "serveConfigV2": TEXT,
    "rayClusterConfig*": RAY_CLUSTER,
    "rayClusterDeletionDelaySeconds": WHOLE,
    "excludeHeadPodFromServeSvc": SWITCH,
    "serveService": SERVICE,
    "suspend": SWITCH,
    "upgradeStrategy": {
        "type": one_of("NewCluster NewClusterWithIncrementalUpgrade None"),
        "clusterUpgradeOptions": {
            "gatewayClassName*": TEXT,
            "intervalSeconds*": WHOLE,
            "stepSizePercent*": WHOLE,
            "maxSurgePercent": WHOLE,
        },
    },
}

# -- monitoring.coreos.com -------------------------------------------------------------------------------------------

RELABELING = Each(
    {
        "action": one_of("replace keep drop hashmod labelmap labeldrop labelkeep lowercase uppercase"),
        **named("regex replacement separator targetLabel", TEXT),
        "sourceLabels": TEXTS,
        "modulus": WHOLE,
    }
)
SCRAPED: Parts = {
    **named("port path interval scrapeTimeout scheme", TEXT),
    **named("honorLabels honorTimestamps filterRunning followRedirects enableHttp2", SWITCH),
    "params": Free(TEXTS),
    "relabelings": RELABELING,
    "metricRelabelings": RELABELING,
    "authorization": {"type": TEXT, "credentials": KEY},
    "tlsConfig": {
        "insecureSkipVerify": SWITCH,
        "serverName": TEXT,
        **named("ca cert", {"secret": KEY, "configMap": KEY}),
        "keySecret": KEY,
    },
}
MONITOR: Parts = {
    "jobLabel": TEXT,
    "namespaceSelector": {"any": SWITCH, "matchNames": TEXTS},
    "selector*": SELECTOR,
    "attachMetadata": {"node": SWITCH},
    "sampleLimit": WHOLE,
    "targetLimit": WHOLE,
    "labelLimit": WHOLE,
    "scrapeProtocols": TEXTS,
    "fallbackScrapeProtocol": TEXT,
}
POD_MONITOR: Parts = MONITOR | {"podMetricsEndpoints": Each({**SCRAPED, "portNumber": WHOLE}), "podTargetLabels": TEXTS}
SERVICE_MONITOR: Parts = MONITOR | {
    "endpoints*": Each({**SCRAPED, "targetPort": EITHER}),
    **named("targetLabels podTargetLabels", TEXTS),
}
RULE: Parts = {
    **named("alert record for keep_firing_for", TEXT),
    "expr*": EITHER,
    "labels": LABELS,
    "annotations": LABELS,
}
PROMETHEUS_RULE: Parts = {
    "groups": Each(
        {
            "name*": TEXT,
            **named("interval query_offset partial_response_strategy", TEXT),
            "limit": WHOLE,
            "labels": LABELS,
            "rules": Each(RULE),
        }
    )
}

OPERATED: Parts = {  # what Prometheus and Alertmanager share: a StatefulSet that the operator makes of it
    **named("image version externalUrl retention serviceAccountName logLevel logFormat routePrefix", TEXT),
    **named("priorityClassName schedulerName portName", TEXT),
    "replicas": WHOLE,
    "automountServiceAccountToken": SWITCH,
    "imagePullPolicy": one_of("Always Never IfNotPresent"),
    "podMetadata": {"labels": LABELS, "annotations": LABELS},
    "nodeSelector": LABELS,
    "storage": {"volumeClaimTemplate": {"spec": Core("PersistentVolumeClaim", ("spec",))}},
    **named("secrets configMaps", TEXTS),
    "resources": Core("Pod", ("spec", "containers", 0, "resources")),
    "volumeMounts": Core("Pod", ("spec", "containers", 0, "volumeMounts")),
    **{name: Core("Pod", ("spec", name)) for name in ("securityContext", "affinity", "tolerations", "volumes")},
    "topologySpreadConstraints": Core("Pod", ("spec", "topologySpreadConstraints")),
    "containers": Core("Pod", ("spec", "containers")),
    "additionalArgs": Each({"name*": TEXT, "value": TEXT}),
    "enableFeatures": TEXTS,
    "terminationGracePeriodSeconds": WHOLE,
}
ALERTMANAGER: Parts = OPERATED | {"configSecret": TEXT, "clusterLabel": TEXT}
PROMETHEUS: Parts = OPERATED | {
    **named("scrapeInterval scrapeTimeout evaluationInterval retentionSize", TEXT),
    "alerting": {
        "alertmanagers*": Each({"name*": TEXT, "port*": EITHER, **named("namespace pathPrefix scheme", TEXT)})
    },
    "exemplars": {"maxSize": WHOLE},
    "tsdb": {"outOfOrderTimeWindow": TEXT},
    "externalLabels": LABELS,
    **named("podMonitorSelector podMonitorNamespaceSelector serviceMonitorSelector", SELECTOR),
    **named("serviceMonitorNamespaceSelector ruleSelector ruleNamespaceSelector", SELECTOR),
    **named("walCompression enableAdminAPI", SWITCH),
    "shards": WHOLE,
}

# -- keda.sh ---------------------------------------------------------------------------------------------------------

TRIGGER_METADATA: Parts = {  # of type prometheus, by its documentation: the definition lets everything through
    "serverAddress*": TEXT,
    "query*": TEXT,
    "threshold*": TEXT,
    **named("activationThreshold namespace customHeaders ignoreNullValues queryParameters unsafeSsl authModes", TEXT),
    "timeout": TEXT,
}
TRIGGER: Parts = {
    "type*": one_of("prometheus"),
    "name": TEXT,
    "metricType": one_of("AverageValue Value Utilization"),
    "metadata*": TRIGGER_METADATA,
    "authenticationRef": {"name*": TEXT, "kind": one_of("TriggerAuthentication ClusterTriggerAuthentication")},
    "useCachedMetrics": SWITCH,
}
SCALED_OBJECT: Parts = {
    "scaleTargetRef*": {"name*": TEXT, **named("apiVersion kind envSourceContainerName", TEXT)},
    **named("minReplicaCount maxReplicaCount idleReplicaCount pollingInterval", WHOLE),
    **named("cooldownPeriod initialCooldownPeriod", WHOLE),
    "fallback": {
        "failureThreshold*": WHOLE,
        "replicas*": WHOLE,
        "behavior": one_of("static currentReplicas currentReplicasIfHigher currentReplicasIfLower scalingModifiers"),
    },
    "advanced": {
        "restoreToOriginalReplicaCount": SWITCH,
        "horizontalPodAutoscalerConfig": {
            "name": TEXT,
            "behavior": Core("HorizontalPodAutoscaler", ("spec", "behavior")),
        },
        "scalingModifiers": named("formula target activationTarget", TEXT)
        | {"metricType": one_of("AverageValue Value")},
    },
    "triggers*": Each(TRIGGER),
}
TRIGGER_AUTHENTICATION: Parts = {
    "secretTargetRef": Each(named("parameter* name* key*", TEXT)),
    "configMapTargetRef": Each(named("parameter* name* key*", TEXT)),
    "env": Each(named("parameter* name*", TEXT) | {"containerName": TEXT}),
}

# -- cert-manager.io -------------------------------------------------------------------------------------------------

CERTIFICATE: Parts = {
    "secretName*": TEXT,
    "issuerRef*": {"name*": TEXT, "kind": TEXT, "group": TEXT},
    **named("dnsNames ipAddresses uris", TEXTS),
    **named("commonName duration renewBefore", TEXT),
    "renewBeforePercentage": WHOLE,
    "isCA": SWITCH,
    "revisionHistoryLimit": WHOLE,
    "privateKey": {
        "algorithm": one_of("RSA ECDSA Ed25519"),
        "encoding": one_of("PKCS1 PKCS8"),
        "rotationPolicy": one_of("Never Always"),
        "size": WHOLE,
    },
    "usages": Each(
        frozenset({"digital signature", "key encipherment", "server auth", "client auth", "cert sign", "crl sign"})
    ),
    "secretTemplate": {"labels": LABELS, "annotations": LABELS},
    "subject": named("organizations organizationalUnits countries", TEXTS),
}
SOLVER: Parts = {
    "selector": {"matchLabels": LABELS, "dnsNames": TEXTS, "dnsZones": TEXTS},
    "dns01": {"cloudflare": {"email": TEXT, "apiTokenSecretRef": {"name*": TEXT, "key": TEXT}}},
    "http01": {
        "ingress": named("ingressClassName class name", TEXT),
        "gatewayHTTPRoute": {"parentRefs": Each(REFERENCE | {"sectionName": TEXT, "port": WHOLE}), "labels": LABELS},
    },
}
ISSUER: Parts = {
    "selfSigned": {"crlDistributionPoints": TEXTS},
    "ca": {"secretName*": TEXT},
    "acme": {
        "server*": TEXT,
        **named("email profile preferredChain", TEXT),
        "privateKeySecretRef*": {"name*": TEXT, "key": TEXT},
        "solvers": Each(SOLVER),
    },
}

# -- gateway.networking.k8s.io ---------------------------------------------------------------------------------------

ALLOWED_ROUTES: Parts = {
    "kinds": Each({"group": TEXT, "kind*": TEXT}),
    "namespaces": {"from": one_of("All Selector Same"), "selector": SELECTOR},
}
LISTENER: Parts = {
    "name*": TEXT,
    "port*": WHOLE,
    "protocol*": one_of("HTTP HTTPS TLS TCP UDP"),
    "hostname": TEXT,
    "allowedRoutes": ALLOWED_ROUTES,
    "tls": {
        "mode": one_of("Terminate Passthrough"),
        "certificateRefs": Each(REFERENCE),
        "options": LABELS,
    },
}
GATEWAY: Parts = {
    "gatewayClassName*": TEXT,
    "listeners*": Each(LISTENER),
    "addresses": Each(named("type value", TEXT)),
    "infrastructure": {
        "labels": LABELS,
        "annotations": LABELS,
        "parametersRef": named("group* kind* name*", TEXT),
    },
}
GATEWAY_CLASS: Parts = {
    "controllerName*": TEXT,
    "description": TEXT,
    "parametersRef": named("group* kind* name*", TEXT) | {"namespace": TEXT},
}
NAMED_VALUE: Parts = {"name*": TEXT, "value*": TEXT}
MATCHED = Each({"name*": TEXT, "value*": TEXT, "type": one_of("Exact RegularExpression")})
HEADERS: Parts = {"add": Each(NAMED_VALUE), "set": Each(NAMED_VALUE), "remove": TEXTS}
PATH_CHANGE: Parts = {
    "type*": one_of("ReplaceFullPath ReplacePrefixMatch"),
    **named("replaceFullPath replacePrefixMatch", TEXT),
}
FILTER: Parts = {
    "type*": one_of(
        "RequestHeaderModifier ResponseHeaderModifier RequestMirror RequestRedirect URLRewrite ExtensionRef"
    ),
    "requestHeaderModifier": HEADERS,
    "responseHeaderModifier": HEADERS,
    "requestRedirect": {
        "scheme": one_of("http https"),
        "hostname": TEXT,
        "port": WHOLE,
        "statusCode": WHOLE,
        "path": PATH_CHANGE,
    },
    "urlRewrite": {"hostname": TEXT, "path": PATH_CHANGE},
    "extensionRef": named("group* kind* name*", TEXT),
}
HTTP_RULE: Parts = {
    "name": TEXT,
    "matches": Each(
        {
            "path": {"type": one_of("Exact PathPrefix RegularExpression"), "value": TEXT},
            "headers": MATCHED,
            "queryParams": MATCHED,
            "method": one_of("GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH"),
        }
    ),
    "filters": Each(FILTER),
    "backendRefs": Each(REFERENCE | {"port": WHOLE, "weight": WHOLE, "filters": Each(FILTER)}),
    "timeouts": named("request backendRequest", TEXT),
    "sessionPersistence": {  # of the experimental channel
        **named("sessionName absoluteTimeout idleTimeout", TEXT),
        "type": one_of("Cookie Header"),
        "cookieConfig": {"lifetimeType": one_of("Permanent Session")},
    },
}
PARENTS = Each(REFERENCE | {"port": WHOLE, "sectionName": TEXT})
HTTP_ROUTE: Parts = {"parentRefs": PARENTS, "hostnames": TEXTS, "rules": Each(HTTP_RULE)}
TCP_ROUTE: Parts = {
    "parentRefs": PARENTS,
    "rules*": Each({"name": TEXT, "backendRefs*": Each(REFERENCE | {"port": WHOLE, "weight": WHOLE})}),
}
REFERENCE_GRANT: Parts = {
    "from*": Each(named("group* kind* namespace*", TEXT)),
    "to*": Each({"group*": TEXT, "kind*": TEXT, "name": TEXT}),
}

# -- gateway.envoyproxy.io -------------------------------------------------------------------------------------------

ENVOY_POD: Parts = {name: Core("Pod", ("spec", name)) for name in ("securityContext", "affinity", "tolerations")}
ENVOY_POD |= {"labels": LABELS, "annotations": LABELS, "nodeSelector": LABELS}
ENVOY_POD |= {"topologySpreadConstraints": Core("Pod", ("spec", "topologySpreadConstraints"))}
ENVOY_PROXY: Parts = {
    "provider": {
        "type*": one_of("Kubernetes"),
        "kubernetes": {
            "envoyService": {
                "name": TEXT,
                "type": one_of("ClusterIP LoadBalancer NodePort"),
                "labels": LABELS,
                "annotations": LABELS,
                "externalTrafficPolicy": one_of("Local Cluster"),
            },
            "envoyDeployment": {
                "name": TEXT,
                "replicas": WHOLE,
                "pod": ENVOY_POD,
                "container": {"image": TEXT} | {name: field for name, field in CONTAINER.items() if name != "envFrom"},
                "strategy": Core("Deployment", ("spec", "strategy")),
            },
            "envoyPDB": {"minAvailable": EITHER, "maxUnavailable": EITHER},
        },
    },
    "shutdown": {"drainTimeout": TEXT, "minDrainDuration": TEXT},
    "concurrency": WHOLE,
    "mergeGateways": SWITCH,
}

POLICY_TARGETS: Parts = {"targetRefs*": Each(named("group* kind* name*", TEXT) | {"sectionName": TEXT})}
BACKEND_TRAFFIC_POLICY: Parts = POLICY_TARGETS | {
    "loadBalancer": {
        "type*": one_of("ConsistentHash LeastRequest Random RoundRobin"),
        "consistentHash": {
            "type*": one_of("SourceIP Header Cookie"),
            "cookie": {"name*": TEXT, "ttl": TEXT},
            "header": {"name*": TEXT},
        },
    },
    "timeout": {
        "http": named("connectionIdleTimeout maxConnectionDuration requestTimeout streamIdleTimeout", TEXT),
        "tcp": {"connectTimeout": TEXT},
    },
}
CLIENT_TRAFFIC_POLICY: Parts = POLICY_TARGETS | {
    "clientIPDetection": {
        "xForwardedFor": {"numTrustedHops": WHOLE, "trustedCIDRs": TEXTS},
    },
    "timeout": {
        "http": named("idleTimeout requestHeadersReceivedTimeout requestReceivedTimeout streamIdleTimeout", TEXT),
        "tcp": named("idleTimeout tlsHandshakeTimeout connectionInspectionTimeout", TEXT),
    },
    "tls": {
        **named("minVersion maxVersion", one_of("Auto 1.0 1.1 1.2 1.3")),
        **named("ciphers alpnProtocols ecdhCurves", TEXTS),
    },
    "connection": {"connectionLimit": {"value*": WHOLE, "closeDelay": TEXT}},
}

# -- kind.x-k8s.io ---------------------------------------------------------------------------------------------------

KIND_CLUSTER: Parts = {  # no custom resource: the configuration of the program kind
    **named("apiVersion* kind*", TEXT),
    "name": TEXT,
    "nodes": Each(
        {
            "role*": one_of("control-plane worker"),
            "image": TEXT,
            "labels": LABELS,
            "extraPortMappings": Each(
                {
                    **named("hostPort* containerPort*", WHOLE),
                    "listenAddress": TEXT,
                    "protocol": one_of("TCP UDP SCTP"),
                }
            ),
            "extraMounts": Each(named("hostPath* containerPath*", TEXT) | {"readOnly": SWITCH}),
            "kubeadmConfigPatches": TEXTS,
        }
    ),
    "networking": {
        **named("ipFamily podSubnet serviceSubnet kubeProxyMode apiServerAddress", TEXT),
        "apiServerPort": WHOLE,
        "disableDefaultCNI": SWITCH,
    },
    "featureGates": Free(SWITCH),
    "kubeadmConfigPatches": TEXTS,
}

# -- all kinds -------------------------------------------------------------------------------------------------------

SPECS: dict[tuple[str, str], Fields] = {
    ("ray.io/v1", "RayService"): RAY_SERVICE,
    ("ray.io/v1", "RayCluster"): RAY_CLUSTER,
    ("monitoring.coreos.com/v1", "PodMonitor"): POD_MONITOR,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): SERVICE_MONITOR,
    ("monitoring.coreos.com/v1", "PrometheusRule"): PROMETHEUS_RULE,
    ("monitoring.coreos.com/v1", "Prometheus"): PROMETHEUS,
    ("monitoring.coreos.com/v1", "Alertmanager"): ALERTMANAGER,
    ("keda.sh/v1alpha1", "ScaledObject"): SCALED_OBJECT,
    ("keda.sh/v1alpha1", "TriggerAuthentication"): TRIGGER_AUTHENTICATION,
    ("cert-manager.io/v1", "Certificate"): CERTIFICATE,
    ("cert-manager.io/v1", "Issuer"): ISSUER,
    ("cert-manager.io/v1", "ClusterIssuer"): ISSUER,
    ("gateway.networking.k8s.io/v1", "Gateway"): GATEWAY,
    ("gateway.networking.k8s.io/v1", "GatewayClass"): GATEWAY_CLASS,
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): HTTP_ROUTE,
    ("gateway.networking.k8s.io/v1", "TCPRoute"): TCP_ROUTE,
    ("gateway.networking.k8s.io/v1", "TLSRoute"): TCP_ROUTE | {"hostnames*": TEXTS},
    ("gateway.networking.k8s.io/v1", "ReferenceGrant"): REFERENCE_GRANT,
    ("gateway.envoyproxy.io/v1alpha1", "EnvoyProxy"): ENVOY_PROXY,
    ("gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy"): BACKEND_TRAFFIC_POLICY,
    ("gateway.envoyproxy.io/v1alpha1", "ClientTrafficPolicy"): CLIENT_TRAFFIC_POLICY,
}
WHOLES: dict[tuple[str, str], Fields] = {  # what has neither metadata nor a spec
    ("kind.x-k8s.io/v1alpha4", "Cluster"): KIND_CLUSTER,
}
SKELETONS: Mapping[str, dict[str, Any]] = {  # the least that Kubernetes takes
    "Pod": {"apiVersion": "v1", "spec": {"containers": [{"name": "x", "image": "x", "env": [{"name": "X"}]}]}},
    "Service": {"apiVersion": "v1", "spec": {}},
    "PersistentVolumeClaim": {"apiVersion": "v1", "spec": {}},
    "NetworkPolicy": {"apiVersion": "networking.k8s.io/v1", "spec": {"podSelector": {}}},
    "Deployment": {
        "apiVersion": "apps/v1",
        "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "x", "image": "x"}]}}},
    },
    "HorizontalPodAutoscaler": {
        "apiVersion": "autoscaling/v2",
        "spec": {"maxReplicas": 1, "scaleTargetRef": {"kind": "Deployment", "name": "x"}},
    },
}


CUSTOM_OF_KUBERNETES = ("gateway.networking.k8s.io", "kind.x-k8s.io")


def is_custom(document: Document) -> bool:
    """Whether Kubernetes itself knows nothing of that kind."""
    group = document["apiVersion"].rpartition("/")[0]
    return "." in group and (not group.endswith(".k8s.io") or group in CUSTOM_OF_KUBERNETES)


def fields_of(document: Document) -> Fields:
    """All that a document of its kind may say. KeyError: that kind is not known here."""
    kind = (document["apiVersion"], document["kind"])
    return WHOLES[kind] if kind in WHOLES else of_resource(SPECS[kind])


def of_resource(spec: Fields) -> Fields:
    return {"apiVersion*": TEXT, "kind*": TEXT, "metadata*": METADATA, "spec*": spec}


def faults(document: Document) -> list[str]:
    """What is wrong with a custom resource: each fault with its place, and the nearest name where one is unknown."""
    if (document["apiVersion"], document["kind"]) not in SPECS | WHOLES:
        return [f"{document['apiVersion']} {document['kind']}: no fields are known of that kind"]
    return list(_faults(document, fields_of(document), ""))


def borrowed(document: Document) -> list[dict[str, Any]]:
    """The parts of a custom resource that Kubernetes has a schema of, as documents for it to check."""
    return list(_borrowed(document, fields_of(document)))


def _faults(value: Any, fields: Fields, place: str) -> Iterator[str]:
    match fields:
        case Each(of) if isinstance(value, list):
            for index, item in enumerate(value):
                yield from _faults(item, of, f"{place}[{index}]")
        case Free(of) if isinstance(value, dict):
            for name, item in value.items():
                yield from _faults(item, of, f"{place}.{name}")
        case Mapping() if isinstance(value, dict):
            yield from _faults_of_fields(value, fields, place)
        case Core():
            pass
        case _ if not _is(value, fields):
            yield f"{place.removeprefix('.')}: expected {_said(fields)}, got {value!r}"


def _faults_of_fields(value: Mapping[str, Any], fields: Mapping[str, Fields], place: str) -> Iterator[str]:
    known = {name.removesuffix("*"): field for name, field in fields.items()}
    for name, item in value.items():
        if name in known:
            yield from _faults(item, known[name], f"{place}.{name}")
        else:
            nearest = get_close_matches(name, known, n=1)
            advice = f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(known)}"
            yield f"{place}.{name}: there is no such field; {advice}".removeprefix(".")
    for name in fields:
        if name.endswith("*") and name.removesuffix("*") not in value:
            yield f"{place}.{name.removesuffix('*')}: is missing".removeprefix(".")


def _is(value: Any, fields: Fields) -> bool:
    match fields:
        case Leaf.TEXT:
            return isinstance(value, str)
        case Leaf.WHOLE:
            return isinstance(value, int) and not isinstance(value, bool)
        case Leaf.SWITCH:
            return isinstance(value, bool)
        case Leaf.EITHER:
            return isinstance(value, str) or _is(value, WHOLE)
        case frozenset():
            return value in fields
    return fields is Leaf.ANY


def _said(fields: Fields) -> str:
    match fields:
        case Leaf():
            return fields.value
        case frozenset():
            return f"one of {', '.join(sorted(fields))}"
        case Each():
            return "a list"
    return "a mapping"


def _borrowed(value: Any, fields: Fields) -> Iterator[dict[str, Any]]:
    match fields:
        case Each(of) if isinstance(value, list):
            for item in value:
                yield from _borrowed(item, of)
        case Free(of) if isinstance(value, dict):
            for item in value.values():
                yield from _borrowed(item, of)
        case Mapping() if isinstance(value, dict):
            for name, field in fields.items():
                if (known := name.removesuffix("*")) in value:
                    yield from _borrowed(value[known], field)
        case Core(kind, place):
            yield _placed(value, kind, place)


def _placed(value: Any, kind: str, place: tuple[str | int, ...]) -> dict[str, Any]:
    document: dict[str, Any] = {"kind": kind, "metadata": {"name": "x"}, **deepcopy(SKELETONS[kind])}
    inside: Any = document
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    return document
