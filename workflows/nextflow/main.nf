// Many queries against a collection: the steps of `atoll batch-search`, each a process of Nextflow's.
//
// NEVER RUN by those who wrote it: Nextflow could not be installed where Atoll is tested. A test holds
// its commands and options against Atoll's own; the Snakefile beside it is the same graph, and tested.
//
//     nextflow run main.nf -resume --collection s3://my-data/proteins \
//         --queries s3://my-data/queries.fasta.gz --run s3://my-data/runs/one
//
// For AWS Batch: process.executor = 'awsbatch', process.queue = the stack's JobQueue, process.container
// = the image of `atoll deploy aws`, and a scratch folder on the instance's own disk.
nextflow.enable.dsl = 2

params.collection = null   // URL of the collection
params.queries = null      // URL or path that the plan's machine reaches
params.run = null          // URL of the run: empty, or of the same search
params.options = ''        // of the search, as `atoll batch-search` takes them
params.scratch = '/tmp'    // a disk that holds the buckets searched at once

process plan {
    errorStrategy 'retry'
    maxRetries 2

    output:
    path 'plan.json'

    script:
    """
    atoll batch-search '${params.collection}' '${params.queries}' ${params.options} -o '${params.run}' --plan-only > plan.json
    """
}

process search {
    errorStrategy 'retry'
    maxRetries 2
    memory '4 GB'

    input:
    val bucket

    output:
    val bucket

    script:
    """
    atoll step search '${params.run}' --index ${bucket} --download --scratch '${params.scratch}' --threads ${task.cpus} --memory ${task.memory.toMega()}M
    """
}

process fold {
    errorStrategy 'retry'
    maxRetries 2

    input:
    tuple val(group), val(searched)

    output:
    val group

    script:
    """
    atoll step fold '${params.run}' --index ${group}
    """
}

process refine {
    errorStrategy 'retry'
    maxRetries 2

    input:
    val searched
    val folded

    output:
    path 'refine.json'

    script:
    """
    atoll step refine '${params.run}' > refine.json
    grep -F '"failed_buckets": {}' refine.json || { cat refine.json; exit 1; } >&2
    """
}

workflow {
    for (name in ['collection', 'queries', 'run']) {
        if (!params[name]) {
            error "give --${name}"
        }
    }
    told = plan().map { file -> new groovy.json.JsonSlurper().parseText(file.text) }
    search(told.flatMap { it.buckets })
    // A count comes when all are done; of groups there are none where no tree is needed.
    searched = search.out.count()
    fold(told.flatMap { it.groups }.combine(searched))
    refine(searched, fold.out.count())
}
