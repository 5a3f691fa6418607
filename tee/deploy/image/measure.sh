#!/bin/bash
# The launch measurement that SEV-SNP hardware will report of an image: what goes into `measurements` of an attestation policy.
#
#   measure.sh OUT OVMF [--vcpus N] [--vcpu-type TYPE]      (pip install sev-snp-measure)
#
#   OUT     folder that build.sh made
#   OVMF    the firmware that the guest is started with; it must be one that checks kernel, initrd and command line
#           against hashes (OvmfPkg/AmdSev: firmware.sh makes it). Of others sev-snp-measure says that they do not
#
# The number of processors and their type are measured, too: 4 and EPYC-v4 (Genoa: EPYC-Genoa) unless said otherwise.
set -euo pipefail
out=${1:?name the folder that build.sh made} firmware=${2:?name the firmware}
shift 2
vcpus=4 type=EPYC-v4
while [ $# -gt 0 ]; do
    case $1 in
        --vcpus) vcpus=$2 ;;
        --vcpu-type) type=$2 ;;
        *) echo "measure.sh: $1 is no option of it" >&2; exit 2 ;;
    esac
    shift 2
done
(cd "$out" && sha256sum --quiet --check SHA256SUMS)
exec sev-snp-measure --mode snp --vcpus "$vcpus" --vcpu-type "$type" --ovmf "$firmware" \
    --kernel "$out/vmlinuz" --initrd "$out/initrd" --append "$(cat "$out/cmdline")" --output-format hex
