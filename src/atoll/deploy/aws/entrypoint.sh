#!/bin/sh
# One image for both: on Lambda the words are a handler, in a Batch job a command.
set -e
# numba keeps nothing in a folder it cannot write to, and Lambda's image is read-only: links to
# what was compiled when the image was built stand in for it. What they miss is compiled into /tmp.
if [ ! -d "$NUMBA_CACHE_DIR" ]; then
  mkdir -p "$(dirname "$NUMBA_CACHE_DIR")"
  cp -rs "$ATOLL_KERNELS" "$NUMBA_CACHE_DIR"
fi
if [ -n "$AWS_LAMBDA_RUNTIME_API" ]; then
  exec python -m awslambdaric "$@"
fi
exec "$@"
