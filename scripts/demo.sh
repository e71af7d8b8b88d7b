#!/bin/sh
# The main job from end to end, as `make demo` runs it: fetch, train, forecast, score. Run again, it re-uses what is there.
set -eu

data=radolan
nowcast fetch radolan || {
    code=$?
    [ $code -eq 75 ] || exit $code
    echo "The real sample cannot be fetched here: going on with SYNTHETIC rain. Its scores say nothing about real weather."
    data=synthetic
    nowcast fetch synthetic
}
out=runs/demo-$data

echo; echo "1/3  Training a small ConvLSTM: 10-15 May 2018, validated on 16 May"
nowcast train experiment=demo data=$data output="$out"

echo; echo "2/3  Forecasting the hour after 18 May 2018, 15:00 UTC"
nowcast predict checkpoint="$out/best.pt" data=$data at=2018-05-18T15:00 output="$out/forecast.nc"

echo; echo "3/3  Scoring 17-20 May 2018, days that chose nothing: every 15 minutes a forecast of an hour"
nowcast evaluate checkpoint="$out/best.pt" data=$data output="$out/scores"

echo
awk -F, -v OFS="" '$1 == "all" && $5 == "mean" && ($4 == 0.5 || $4 == 1 || $4 == 2) { csi[$2, $4 + 0] = $11 } END {
    for (t = 0.5; t <= 2; t *= 2) print "CSI at ", t, " mm/h over 5-60 minutes: the model ",
        (csi["model", t] > csi["persistence", t] ? "beats" : "DOES NOT beat"), " persistence" }' "$out/scores/scores.csv"

echo
echo "The model:      $out/best.pt    its learning curves: $out/curves.png"
echo "The forecast:   $out/forecast.nc"
echo "The report:     $out/scores/report.html (open it in a browser)"
echo "The scores:     $out/scores/scores.csv, scores.nc; frames.png (observed above, forecast below), csi.png"
