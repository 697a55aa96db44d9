"""What the roles of a template may do, read out of its policies."""


def statements(template, role):
    """All statements that a role holds, those of policies that name it included."""
    resources = template["Resources"]
    for policy in resources[role]["Properties"].get("Policies", []):
        yield from map(as_granted, policy["PolicyDocument"]["Statement"])
    for resource in resources.values():
        if resource["Type"] == "AWS::IAM::Policy":
            properties = resource["Properties"]
            if {"Ref": role} in as_granted(properties["Roles"]):
                yield from map(as_granted, properties["PolicyDocument"]["Statement"])


def rights(template, role):
    """(action, resource as text) of all that a role may do."""
    for statement in statements(template, role):
        assert statement["Effect"] == "Allow"
        for action in as_list(statement["Action"]):
            for resource in as_list(as_granted(statement["Resource"])):
                yield action, as_text(resource)


def listed_prefix(statement):
    """Which prefixes a right to list is for."""
    condition = statement.get("Condition", {"StringLikeIfExists": {"s3:prefix": "*"}})
    return as_text(condition["StringLikeIfExists"]["s3:prefix"])


def as_granted(value):
    """Take of a condition what holds where it is met: the wider right."""
    return value["Fn::If"][1] if isinstance(value, dict) and "Fn::If" in value else value


def as_list(value):
    return value if isinstance(value, list) else [value]


def as_text(resource):
    if isinstance(resource, str):
        return resource
    (kind,) = resource
    value = resource[kind]
    if kind == "Fn::GetAtt":
        return "${" + ".".join(value) + "}"
    # Of a text with variables of its own, the text.
    return value[0] if isinstance(value, list) else value
