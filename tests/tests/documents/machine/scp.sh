#!/bin/bash
# Stands for a copy to another machine, which gets it when the block has ended: scp -p FILE MACHINE:FILE.
set -eu
[ "$1" = -p ]
machine=${3%%:*} file=${3#*:}
mkdir -p "/wire/$machine$(dirname "$file")"
cp -p "$2" "/wire/$machine$file"
