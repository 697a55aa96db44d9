"""Example services for tests of the wire: a shelf of clusters, stacks and alarms in memory."""

from datetime import UTC, datetime

from atoll.core.errors import NotFound
from atoll.fleet.wire.errors import CLOUDFORMATION, CLOUDWATCH, EMR, ServiceError
from atoll.fleet.wire.service import Service

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
CREATED = datetime(2026, 11, 22, 10, 15, 1, 250000, tzinfo=UTC)


class Shelf:
    """What the examples remember, and every call with its parameters, newest last."""

    def __init__(self):
        self.clusters = {}
        self.stacks = {}
        self.alarms = {}
        self.calls = []

    def services(self):
        """Give the three services, their handlers found by the operations' names."""
        return [
            self._service("emr", EMR, "RunJobFlow ListClusters DescribeCluster ListInstances"),
            self._service(
                "cloudformation", CLOUDFORMATION, "CreateStack DescribeStacks DeleteStack"
            ),
            self._service(
                "cloudwatch", CLOUDWATCH, "GetMetricData ListMetrics PutMetricAlarm DescribeAlarms"
            ),
        ]

    def _service(self, model, errors, names):
        return Service(model, {name: self._noted(name) for name in names.split()}, errors)

    def _noted(self, name):
        def handler(parameters):
            self.calls.append((name, parameters))
            return getattr(self, name)(parameters)

        return handler

    def RunJobFlow(self, parameters):
        cluster = f"j-{len(self.clusters) + 1}"
        self.clusters[cluster] = parameters
        return {"JobFlowId": cluster}

    def ListClusters(self, parameters):
        return {"Clusters": [self._summary(cluster) for cluster in self.clusters]}

    def DescribeCluster(self, parameters):
        if parameters["ClusterId"] not in self.clusters:
            raise NotFound(f"Cluster id '{parameters['ClusterId']}' is not valid.")
        return {"Cluster": self._summary(parameters["ClusterId"])}

    def ListInstances(self, parameters):
        return {
            "Instances": [{"Id": "ci-1", "PrivateIpAddress": "10.0.0.7", "Market": "ON_DEMAND"}]
        }

    def _summary(self, cluster):
        status = {"State": "WAITING", "Timeline": {"CreationDateTime": CREATED}}
        return {"Id": cluster, "Name": self.clusters[cluster]["Name"], "Status": status}

    def CreateStack(self, parameters):
        if parameters["StackName"] in self.stacks:
            raise ServiceError(
                f"Stack [{parameters['StackName']}] already exists", name="AlreadyExistsException"
            )
        self.stacks[parameters["StackName"]] = parameters
        return {"StackId": f"arn:aws:cloudformation:::stack/{parameters['StackName']}/1"}

    def DescribeStacks(self, parameters):
        name = parameters.get("StackName")
        if name is not None and name not in self.stacks:
            raise NotFound(f"Stack with id {name} does not exist")
        return {"Stacks": [self._stack(known) for known in self.stacks if name in (None, known)]}

    def _stack(self, name):
        status = {"StackStatus": "CREATE_COMPLETE", "CreationTime": CREATED}
        return {"StackName": name, "Tags": self.stacks[name].get("Tags", []), **status}

    def DeleteStack(self, parameters):
        self.stacks.pop(parameters["StackName"], None)
        return {}

    def GetMetricData(self, parameters):
        found = {"Id": "m1", "Timestamps": [CREATED], "Values": [2.0], "StatusCode": "Complete"}
        return {"MetricDataResults": [found]}

    def ListMetrics(self, parameters):
        dimensions = [{"Name": "JobFlowId", "Value": cluster} for cluster in self.clusters]
        return {"Metrics": [{"Namespace": "AWS/ElasticMapReduce", "Dimensions": dimensions}]}

    def PutMetricAlarm(self, parameters):
        self.alarms[parameters["AlarmName"]] = parameters
        return {}

    def DescribeAlarms(self, parameters):
        for name in parameters.get("AlarmNames", []):
            if name not in self.alarms:
                raise NotFound(f"there is no alarm {name!r}")
        kept = ("AlarmName", "Threshold", "ComparisonOperator")
        alarms = [{name: alarm[name] for name in kept} for alarm in self.alarms.values()]
        return {"MetricAlarms": alarms}
