"""What runs on instances: configuration and commands of ZooKeeper and Spark, and how to ask them.

Reading order: place (where a daemon lives), daemon (what is started), jvm, jars, logs,
zookeeper, ensemble, spark; then zookeeper_probe, spark_probe. What drivers need of Java and Spark,
too, is in `atoll.compute`.
"""
