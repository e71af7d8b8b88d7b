#!/bin/sh
# The demo of `make demo`, from end to end: fetch, forecast, train, forecast, score. If run again, it reuses existing files.
set -eu

data=radolan
out=runs/demo
nowcast fetch radolan || {
    code=$?
    [ $code -eq 75 ] || exit $code
    echo "The real sample cannot be fetched here; using SYNTHETIC rain instead. Its scores say nothing about real weather."
    data=synthetic
    out=runs/demo-synthetic
    nowcast fetch synthetic
}

at=2018-05-20T01:15
echo; echo "1/4  Forecasting the hour after 20 May 2018, 01:15 UTC, with the pretrained model"
nowcast predict data=$data at=$at output="$out/first.nc"
nowcast plot "$out/first.nc" data=$data probability=1 output="$out/first.png"
nowcast evaluate forecasts="$out/first.nc" data=$data baseline=persistence output="$out/first_scores"
echo "See $out/first.png"

echo; echo "2/4  Training a ConvLSTM in the moving frame on 10-15 May 2018, with validation on 16 May"
nowcast train experiment=demo data=$data output="$out"

echo; echo "3/4  Forecasting the same hour with the trained model"
nowcast predict checkpoint="$out/best.pt" data=$data at=$at output="$out/forecast.nc"
nowcast predict model=extrapolation input_steps=5 lead_steps=12 data=$data at=$at output="$out/extrapolation.nc"
nowcast plot "$out/forecast.nc" "$out/extrapolation.nc" data=$data probability=1 output="$out/forecast.png"
[ $data = synthetic ] || echo "(The published latitudes and longitudes of the sample are wrong, so none are drawn.)"

echo; echo "4/4  Scoring one-hour forecasts every 15 minutes on 17-20 May 2018, days used neither for training nor for tuning"
nowcast evaluate checkpoint="$out/best.pt" 'baseline=[persistence,extrapolation,lagrangian_probability]' data=$data output="$out/scores"

echo
awk -F, -v OFS="" 'NR == 1 { for (k = 1; k <= NF; k++) at[$k] = k }
$at["part"] == "all" && $at["aggregate"] == "mean" { csi[$at["forecast"], $at["threshold"] + 0] = $at["csi"] } END {
    split("0.5 1 2 5 10", thresholds, " ")
    for (k = 1; k <= 5; k++) { t = thresholds[k] + 0; print "CSI at ", t, " mm/h over 5-60 minutes: the model ",
        (csi["model", t] > csi["extrapolation", t] ? "beats" : "DOES NOT beat"), " extrapolation" } }' "$out/scores/scores.csv"

echo
echo "The model:      $out/best.pt    its learning curves: $out/curves.png"
echo "The forecast:   $out/forecast.nc, $out/forecast.png (observed, model, extrapolation, probability of at least 1 mm/h)"
echo "The report:     $out/scores/report.html (open it in a browser)"
echo "The scores:     $out/scores/scores.csv, scores.nc; frames.png (observed above, forecasts below), csi.png"
echo
echo "To use nowcast yourself:   . .venv/bin/activate     and then, for example:   nowcast inspect $out/best.pt"
