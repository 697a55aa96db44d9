"""What runs on instances: configuration and commands of ZooKeeper and Spark, and how to ask them.

Reading order: place (where a daemon lives), daemon (what is started), java, jars, logs,
zookeeper, ensemble, spark; then asking, zookeeper_probe, spark_probe.
"""
