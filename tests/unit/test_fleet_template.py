"""CloudFormation templates: the post's unchanged, functions, parameters, and what is refused."""

import json

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from fleetspecs import POST, POSTS_OWN, TEMPLATE, changed, fleet, needs_posts_own, post, problems

from atoll.core.errors import InvalidInput
from atoll.fleet.model import OnDemandStrategy, Role, SpotStrategy
from atoll.fleet.spec.template import Stack, read_template

PROPERTIES = ("Resources", "cluster", "Properties")

RICH = """
AWSTemplateFormatVersion: "2010-09-09"
Description: a cluster for an environment
Parameters:
  Units: {Type: Number, Default: 4, MinValue: 1, MaxValue: 64}
  Nets: {Type: "List<AWS::EC2::Subnet::Id>", Default: "subnet-a, subnet-b"}
  Env: {Type: String, AllowedValues: [dev, prod], Default: dev}
  Team: {Type: String, AllowedPattern: "[a-z]+", Default: search, MinLength: 2, MaxLength: 8}
  Secret: {Type: String, NoEcho: true, Default: hush}
Mappings:
  ByEnv: {dev: {type: m5.xlarge}, prod: {type: m5.4xlarge}}
Conditions:
  IsProd: !Equals [!Ref Env, prod]
  IsBig: !And [!Condition IsProd, !Not [!Equals [!Ref Units, "4"]]]
Resources:
  cluster:
    Type: AWS::EMR::Cluster
    Properties:
      Name: !Sub "${AWS::StackName}-${Env}-${!Env}"
      ServiceRole: !Join ["_", [EMR, DefaultRole]]
      JobFlowRole: !Select [1, !Split ["/", "role/EMR_EC2_DefaultRole"]]
      LogUri: !If [IsProd, "s3://logs/", !Ref "AWS::NoValue"]
      Instances:
        Ec2SubnetIds: !Ref Nets
        MasterInstanceFleet:
          TargetOnDemandCapacity: !If [IsBig, 3, 1]
          InstanceTypeConfigs: [{InstanceType: !FindInMap [ByEnv, !Ref Env, type]}]
        CoreInstanceFleet:
          TargetOnDemandCapacity: !Ref Units
          InstanceTypeConfigs: [{InstanceType: m5.xlarge}]
  extra:
    Type: AWS::EMR::InstanceFleetConfig
    DependsOn: cluster
    Properties:
      ClusterId: !Ref cluster
      InstanceFleetType: TASK
      TargetSpotCapacity: 4
      InstanceTypeConfigs: [{InstanceType: m5.xlarge, WeightedCapacity: 2}]
Outputs:
  Id: {Value: !Ref cluster, Description: the cluster}
  Dns: {Value: !GetAtt cluster.MasterPublicDNS, Export: {Name: !Sub "${AWS::StackName}-dns"}}
  Prod: {Condition: IsProd, Value: "yes"}
"""


def post_with(path, *value):
    return read_template(json.dumps(changed(post(), path, *value)))


def refused(text, **options):
    with pytest.raises(InvalidInput) as caught:
        read_template(text, **options)
    return problems(caught.value)


def refused_post(path, *value):
    return refused(json.dumps(changed(post(), path, *value)))


@pytest.mark.parametrize(
    ("file", "name", "release", "fleets", "timeout_minutes"),
    [
        (TEMPLATE, "ha-spark", "emr-7.1.0", ("primaries", "steady", "spare"), 30),
        pytest.param(
            POSTS_OWN,
            "TestHACluster",
            "emr-6.15.0",
            ("HAPrimaryFleet", "cfnCore", "cfnTask"),
            20,
            marks=needs_posts_own,
        ),
    ],
    ids=["ours", "the post's"],
)
def test_the_posts_template_is_read_unchanged(file, name, release, fleets, timeout_minutes):
    spec = read_template(file.read_text()).spec
    assert (spec.name, spec.release_label) == (name, release)
    targets = [(one.name, one.target_on_demand, one.target_spot) for one in spec.fleets]
    assert targets == list(zip(fleets, (3, 4, 0), (0, 0, 4), strict=True))
    assert [one.weighted_capacity for one in spec.fleets[1].types] == [1, 2, 4]
    assert spec.fleets[2].spot.timeout_minutes == timeout_minutes
    assert spec.spread_primaries
    assert spec.termination_protected
    assert len(spec.subnet_ids) == 3


def test_the_post_gets_notices_of_what_is_done_otherwise():
    said = {one.path.rsplit(".", 1)[-1] for one in read_template(POST).notices}
    assert said == {"ServiceRole", "ReleaseLabel", "TerminationProtected"}


@pytest.mark.parametrize("strategy", ["LOWEST_PRICE", "lowest-price", "Lowest-Price"])
def test_strategies_are_taken_in_both_spellings(strategy):
    fleet_path = (*PROPERTIES, "Instances", "CoreInstanceFleet", "LaunchSpecifications")
    spot = (*fleet_path, "SpotSpecification", "AllocationStrategy")
    assert post_with(spot, strategy).spec.fleets[1].spot.strategy is SpotStrategy.LOWEST_PRICE
    on_demand = post_with((*fleet_path, "OnDemandSpecification"), {"AllocationStrategy": strategy})
    assert on_demand.spec.fleets[1].on_demand_strategy is OnDemandStrategy.LOWEST_PRICE


def test_functions_parameters_mappings_and_conditions_are_resolved():
    spec = read_template(RICH, stack=Stack(name="mine")).spec
    assert spec.name == "mine-dev-${Env}"
    assert (spec.service_role, spec.job_flow_role) == ("EMR_DefaultRole", "EMR_EC2_DefaultRole")
    assert spec.log_uri is None
    assert spec.subnet_ids == ("subnet-a", "subnet-b")
    assert spec.fleets[0].types[0].instance_type == "m5.xlarge"
    assert [one.target_on_demand for one in spec.fleets] == [1, 4, 0]


def test_given_parameters_take_the_place_of_defaults():
    given = {"Env": "prod", "Units": "8", "Nets": "subnet-c"}
    spec = read_template(RICH, parameters=given).spec
    assert (spec.log_uri, spec.subnet_ids) == ("s3://logs/", ("subnet-c",))
    assert [one.target_on_demand for one in spec.fleets] == [3, 8, 0]
    assert spec.fleets[0].types[0].instance_type == "m5.4xlarge"


def test_a_task_fleet_may_be_a_resource_of_its_own():
    read = read_template(RICH)
    assert read.spec.fleets[2].role is Role.TASK
    assert (read.cluster_id, read.task_fleet_ids) == ("cluster", {"extra": "task"})


def test_outputs_are_known_once_the_cluster_is():
    first, second = read_template(RICH, stack=Stack(name="mine")).outputs("j-1", "ip-10-0-0-1")
    assert (first.key, first.value, first.description) == ("Id", "j-1", "the cluster")
    assert (second.value, second.export_name) == ("ip-10-0-0-1", "mine-dns")


def test_a_hidden_parameter_is_not_shown():
    parameters = read_template(RICH).parameters
    assert (parameters["Secret"].shown, parameters["Env"].shown) == ("****", "dev")


def test_a_cluster_stays_when_no_step_is_left_unless_told_otherwise():
    assert read_template(RICH).spec.keeps_alive


def test_spark_is_configured_by_what_cloudformation_calls_properties():
    one = {
        "Classification": "spark-defaults",
        "ConfigurationProperties": {"spark.a": "b", "spark.on": True},
    }
    spec = post_with((*PROPERTIES, "Configurations"), [one]).spec
    assert spec.spark_properties == {"spark.a": "b", "spark.on": "true"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"Units": "0"}, "Parameter 'Units' must be a number not less than 1"),
        ({"Units": "65"}, "Parameter 'Units' must be a number not greater than 64"),
        ({"Units": "few"}, "Parameter 'Units' must be a number"),
        ({"Env": "test"}, "Parameter 'Env' must be one of AllowedValues: dev, prod"),
        ({"Team": "R&D"}, "Parameter 'Team' must match pattern [a-z]+"),
        ({"Team": "a"}, "Parameter 'Team' must contain at least 2 characters"),
        ({"Team": "a" * 9}, "Parameter 'Team' must contain at most 8 characters"),
        ({"Untis": "4"}, "[Untis] do not exist in the template"),
    ],
)
def test_a_parameter_is_held_to_what_the_template_allows(parameters, message):
    assert message in [said for _, said in refused(RICH, parameters=parameters)]


CLUSTER = "Resources.cluster.Properties"


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ("!Ref Units", "!Ref Untis", f"{CLUSTER}.Instances.CoreInstanceFleet", "'Untis' is no par"),
        ("!Ref Nets", "!GetAZs ''", f"{CLUSTER}.Instances.Ec2SubnetIds", "Atoll: Fn::GetAZs"),
        ("!Ref Nets", "!Ref cluster", f"{CLUSTER}.Instances.Ec2SubnetIds", "before the cluster ru"),
        ("!Select [1,", "!Select [7,", f"{CLUSTER}.JobFlowRole", "Fn::Select finds no item '7'"),
        ("[ByEnv,", "[ByTeam,", f"{CLUSTER}.Instances.MasterInst", "Fn::FindInMap finds nothing"),
        ("!If [IsProd", "!If [IsPord", f"{CLUSTER}.LogUri", "'IsPord' is not in the template"),
        ("!Equals [!Ref Env, prod]", "!Condition IsBig", "Conditions.", "depends on itself"),
        ("Type: Number", "Type: Nmuber", "Parameters.Units.Type", "'Nmuber' is no type"),
        ('"[a-z]+"', '"[a-z"', "Parameters.Team.AllowedPattern", "is no regular expression"),
        ('"[a-z]+"', '"[a-c]+"', "Parameters.Team", "must match pattern [a-c]+"),
        ("!Select [1,", "!Select ['0000000005',", f"{CLUSTER}.JobFlowRole", "finds no item"),
        ("ClusterId: !Ref cluster", "ClusterId: j-1", "Resources.extra.Prop", "be the template's"),
        ("FleetType: TASK", "FleetType: CORE", "Resources.extra.Properties", "only add a task"),
        ("DependsOn: cluster", "DependsOn: x", "Resources.extra.DependsOn", "is not among the re"),
        ("DependsOn: cluster", "DeletionPolicy: Retain", "Resources.extra.Del", "ends with its st"),
        ("Value: !Ref cluster", "Value: !Ref clutser", "Outputs.Id.Value", "'clutser' is no para"),
        ("AWS::EMR::InstanceFleetConfig", "AWS::S3::Bucket", "Resources.extra.Type", "AWS::S3::Bu"),
        ("Mappings:", "Transform: AWS::Include\nMappings:", "Transform", "not supported by Atoll"),
        ("Mappings:", "Mapings: 1\nMappings:", "Mapings", "did you mean Mappings?"),
        ("2010-09-09", "2020-01-01", "AWSTemplateFormatVersion", 'the only one is "2010-09-09"'),
        ("InstanceType: m5.xlarge}", "Ref: x, b: c}", f"{CLUSTER}.Inst", "Ref stands with other"),
    ],
)
def test_what_is_wrong_in_a_template_is_said_with_its_path(old, new, path, message):
    assert old in RICH
    found = refused(RICH.replace(old, new))
    assert any(where.startswith(path) and message in said for where, said in found), found


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (
            (*PROPERTIES, "Instances", "CoreInstanceFleet", "TargetSpotCapacity"),
            "-3",
            (
                f"{CLUSTER}.Instances.CoreInstanceFleet.TargetSpotCapacity",
                "is -3; 0 to 1,000,000 are allowed",
            ),
        ),
        (
            (*PROPERTIES, "Instances", "MasterInstanceFleet", "TargetOnDemandCapacity"),
            2,
            (
                f"{CLUSTER}.Instances.MasterInstanceFleet.TargetOnDemandCapacity",
                "is 2; a cluster has 3 primaries, or 1 that may fail",
            ),
        ),
        (
            (*PROPERTIES, "Instances", "CoreInstanceGroup"),
            {"InstanceCount": 2},
            (
                f"{CLUSTER}.Instances.CoreInstanceGroup",
                "not supported by Atoll: describe the instances as instance fleets",
            ),
        ),
    ],
)
def test_a_broken_rule_is_said_where_the_template_breaks_it(path, value, problem):
    assert problem in refused_post(path, value)


def test_a_release_without_the_feature_is_refused_in_the_post():
    ((path, message),) = refused_post((*PROPERTIES, "ReleaseLabel"), "emr-6.11.0")
    assert path == f"{CLUSTER}.ReleaseLabel"
    assert "use emr-6.11.1" in message


def test_a_template_has_exactly_one_cluster():
    assert ("Resources", "has 0 of AWS::EMR::Cluster; a template has one") in refused(
        "Resources: {}"
    )
    two = changed(post(), ("Resources", "other"), post()["Resources"]["cluster"])
    assert ("Resources", "has 2 of AWS::EMR::Cluster; a template has one") in refused(
        json.dumps(two)
    )


def test_a_text_that_doubles_itself_is_cut_short():
    inner = "x" * 1000
    for _ in range(10):
        inner = {"Fn::Sub": ["${a}" * 10, {"a": inner}]}
    found = refused_post((*PROPERTIES, "Name"), inner)
    assert any("gives more than 100,000 characters" in message for _, message in found)


def test_conditions_in_a_long_row_are_refused():
    rows = {f"C{n}": {"Fn::Not": [{"Condition": f"C{n + 1}"}]} for n in range(500)}
    text = json.dumps(post() | {"Conditions": rows | {"C500": {"Fn::Equals": ["a", "b"]}}})
    assert any("conditions in a row" in message for _, message in refused(text))


def members(schema, definitions, path=()):
    for name, member in schema.get("properties", {}).items():
        here = (*path, name)
        item = member.get("items", {})
        inner = definitions.get((item or member).get("$ref", "").split("/")[-1])
        yield here, [] if item else {} if inner else "x"
        if inner and name not in path:
            yield from members(inner, definitions, (*here, 0) if item else here)


def known_to_cloudformation(kind):
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    read_only = {one.split("/")[-1] for one in schema.get("readOnlyProperties", ())}
    found = members(schema, schema["definitions"])
    return [(path, value) for path, value in found if path[0] not in read_only]


def built(path, value):
    step, *rest = path
    inner = built(rest, value) if rest else value
    return [inner] if step == 0 else {step: inner}


@pytest.mark.parametrize("kind", ["AWS::EMR::Cluster", "AWS::EMR::InstanceFleetConfig"])
def test_no_property_that_cloudformation_has_is_unknown(kind):
    for path, value in known_to_cloudformation(kind):
        if "Group" in "".join(map(str, path[:2])) and len(path) > 2:
            continue  # instance groups are refused as a whole
        one = {"Type": kind, "Properties": built(path, value)}
        found = refused(json.dumps({"Resources": {"one": one}}))
        assert not [said for said in found if "no such property" in said[1] and path[-1] in said[0]]


def test_a_fleet_of_the_api_is_none_of_cloudformations():
    found = refused_post((*PROPERTIES, "Instances", "InstanceFleets"), [fleet("MASTER", 3)])
    assert found[0][0] == f"{CLUSTER}.Instances.InstanceFleets"


def test_a_pattern_that_would_take_years_is_refused():
    slow = RICH.replace('"[a-z]+"', '"(a|a)*b"').replace("MaxLength: 8", "MaxLength: 99")
    ((where, said),) = refused(slow, parameters={"Team": "a" * 60})
    assert where == "Parameters.Team.AllowedPattern"
    assert said.startswith("takes more than 1 s")


def test_a_value_that_is_too_long_is_not_matched():
    found = refused(RICH.replace(", MaxLength: 8", ""), parameters={"Team": "A" * 5000})
    assert [said for _, said in found] == ["Parameter 'Team' must contain at most 4096 characters"]


def test_a_place_in_a_list_may_begin_with_zeros():
    read = read_template(RICH.replace("!Select [1,", "!Select ['00001',"))
    assert read.spec.job_flow_role == "EMR_EC2_DefaultRole"
