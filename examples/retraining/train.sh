#!/bin/sh
# The contract of docs/training.md for a training in any language, with curl and jq:
#
#     train.sh Rscript fit.R
#
# The command leaves its model as ONNX in $TRIMTAB_OUTPUT_DIR/model.onnx and prints one number, its accuracy. This script
# does the rest over MLflow's REST API. It never makes a second version, however often it is killed.
set -eu
api="$MLFLOW_TRACKING_URI/api/2.0/mlflow"

end() { # code, JSON
    printf '%s' "$2" > "$TRIMTAB_RESULT_PATH"
    exit "$1"
}
unreachable() { end 75 '{"schema": 1, "reason": "TrackingUnreachable", "message": "MLflow could not be reached"}'; }
post() { curl --fail-with-body --silent --json "$2" "$api/$1"; }
field() { jq --exit-status --raw-output "$1"; }

mine="tags.\`trimtab.dev/run-id\` = '$TRIMTAB_RUN_ID'"
tag=$(jq -cn --arg value "$TRIMTAB_RUN_ID" '[{key: "trimtab.dev/run-id", value: $value}]')

# An earlier attempt may have registered its version and been killed before it could say so.
versions=$(curl --fail --silent --get "$api/model-versions/search" \
    --data-urlencode "filter=name = '$TRIMTAB_MODEL_NAME' and $mine") || unreachable
if last=$(printf '%s' "$versions" | jq -ce '[.model_versions[]?] | min_by(.version | tonumber)
        | select(.) | {schema: 1, version, runId: .run_id}'); then
    end 0 "$last"
fi

# The run of an earlier attempt, or a new one.
name=$(jq -cn --arg name "$MLFLOW_EXPERIMENT_NAME" '{name: $name}')
post experiments/create "$name" > /dev/null || true # it is there already, or the next call fails too
experiment=$(curl --fail --silent --get "$api/experiments/get-by-name" \
    --data-urlencode "experiment_name=$MLFLOW_EXPERIMENT_NAME" | field .experiment.experiment_id) || unreachable
query=$(jq -cn --arg id "$experiment" --arg filter "$mine" '{experiment_ids: [$id], filter: $filter}')
runs=$(post runs/search "$query") || unreachable
run=$(printf '%s' "$runs" | jq -ce '.runs[0].info // empty') || {
    began=$(($(date +%s) * 1000))
    run=$(post runs/create "$(jq -cn --arg id "$experiment" --argjson tags "$tag" --argjson began "$began" \
        '{experiment_id: $id, start_time: $began, tags: $tags}')" | jq -ce .run.info) || unreachable
}
id=$(printf '%s' "$run" | field .run_id)
artifacts=$(printf '%s' "$run" | field .artifact_uri)

accuracy=$("$@") || end 11 '{"schema": 1, "reason": "TrainingFailed", "message": "the command failed; see the log"}'

# mlflow-artifacts:/PATH is what MLflow's artifact proxy keeps under that path.
printf 'run_id: %s\nflavors:\n  onnx:\n    data: model.onnx\n' "$id" > "$TRIMTAB_OUTPUT_DIR/MLmodel"
for file in model.onnx MLmodel; do
    curl --fail --silent --upload-file "$TRIMTAB_OUTPUT_DIR/$file" \
        "$MLFLOW_TRACKING_URI/api/2.0/mlflow-artifacts/artifacts/${artifacts#mlflow-artifacts:/}/model/$file" \
        > /dev/null || unreachable
done
post runs/log-metric "$(jq -cn --arg id "$id" --argjson value "$accuracy" --argjson now "$(($(date +%s) * 1000))" \
    '{run_id: $id, key: "accuracy", value: $value, timestamp: $now}')" > /dev/null || unreachable

# The tag goes with the version, in one call: there is no moment in which one is there without the other.
post registered-models/create "$(jq -cn --arg name "$TRIMTAB_MODEL_NAME" '{name: $name}')" > /dev/null || true
version=$(post model-versions/create "$(jq -cn --arg name "$TRIMTAB_MODEL_NAME" --arg id "$id" \
    --arg source "$artifacts/model" --argjson tags "$tag" \
    '{name: $name, source: $source, run_id: $id, tags: $tags}')" | field .model_version.version) || unreachable
post runs/update "$(jq -cn --arg id "$id" '{run_id: $id, status: "FINISHED"}')" > /dev/null || true
end 0 "$(jq -cn --arg version "$version" --arg id "$id" --argjson value "$accuracy" \
    '{schema: 1, version: $version, runId: $id, metrics: {accuracy: $value}}')"
