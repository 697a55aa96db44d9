"""Log files of JVM daemons: small, few, on the instance's disk."""

from __future__ import annotations

from pathlib import Path

_FILE_KIB = 1024
_OLD_FILES = 3

_CONFIG = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {log}
appender.file.filePattern = {log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{yyyy-MM-dd'T'HH:mm:ss.SSSX}} %p %c{{1}} %m%n%ex
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = {kib}KB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = {old}
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
# It tells of each question that a probe asks.
logger.asked.name = org.apache.zookeeper.server.NIOServerCnxn
logger.asked.level = warn
"""


def log4j2(log: Path) -> str:
    """Write log4j2.properties: `log` and at most three older files of 1 MiB each."""
    return _CONFIG.format(log=log, kib=_FILE_KIB, old=_OLD_FILES)
