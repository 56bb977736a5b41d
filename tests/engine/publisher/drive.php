<?php
// Drives Bridge.php: a job in JSON on standard input, what each step came to on standard output.

declare(strict_types=1);

require __DIR__ . '/../../../engine/publisher/bridges/Bridge.php';

$job = json_decode(stream_get_contents(STDIN), true);
$given = $job['bridge'];
$now = (float) $given['now'];
$bridge = new Tactful\Bridge(
    $given['service'], $given['publisher'], $given['api_key'], $given['issuer'], hex2bin($given['seed']), $given['sites'],
    $given['role'] ?? 'publisher', $given['vendor_id'] ?? null, null, static fn (): float => $now,
);
$results = [];
$kept = null;
foreach ($job['steps'] as $step) {
    try {
        $results[] = match ($step['act']) {
            'restrict' => Tactful\Strings::restrict(
                $step['purposes'], $step['signals'], $step['signals']['role'], $step['signals']['vendor_id'] ?? null, $now,
            ),
            'grant' => $kept = $bridge->grant($step['reader'], $step['purposes'], $step['notice'], $step['expressed_by'], $step['signals'], null, $step['days']),
            'renew' => $kept = $bridge->grant($step['reader'], $step['purposes'], $step['notice'], $step['expressed_by'], $step['signals'], $kept, $step['days']),
            'refuse' => $bridge->refuse($step['purposes'], $step['notice'], $step['expressed_by']),
            'token' => $bridge->token($step['reader'], $kept, $step['signals'], $step['life_s']),
            'withdraw' => $bridge->withdraw($kept),
        };
    } catch (RuntimeException $error) {
        $name = (new ReflectionClass($error))->getShortName();
        $results[] = ['error' => $name, 'reason' => $error instanceof Tactful\NoConsent ? $error->reason : null];
    }
}
echo json_encode($results);
