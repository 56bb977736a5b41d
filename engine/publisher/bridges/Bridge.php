<?php
// The publisher's bridge from its consent dialogue to consent tokens, for PHP 8.1 and later with sodium (both come
// with PHP). What it promises is in README.md, and the same code in Python in ../bridge.py.

declare(strict_types=1);

namespace Tactful;

class BridgeError extends \RuntimeException {}

class NotFirstParty extends \RuntimeException {}

class NoConsent extends \RuntimeException
{
    public function __construct(public readonly ?string $reason)
    {
        parent::__construct('no purpose is left by the consent string' . ($reason === null ? '' : ": $reason"));
    }
}

final class Bridge
{
    private readonly string $secret;
    private readonly string $kid;
    /** @var callable(string, array<string>, string): array{int, string} */
    private $post;
    /** @var callable(): float seconds since 1970 */
    private $now;

    /**
     * @param string $seed the issuer's Ed25519 key, 32 bytes
     * @param array<string> $sites the publisher's origins
     * @param ?callable $post (url, header lines, body) → [status, body]
     * @param ?callable $now () → seconds since 1970
     */
    public function __construct(
        private readonly string $service,
        private readonly string $publisher,
        #[\SensitiveParameter] private readonly string $apiKey,
        private readonly string $issuer,
        #[\SensitiveParameter] string $seed,
        private readonly array $sites,
        private readonly string $role = 'publisher',
        private readonly ?int $vendorId = null,
        ?callable $post = null,
        ?callable $now = null,
    ) {
        if (!preg_match('#^(https://|http://(127\.0\.0\.1|localhost):)#', $service)) {
            throw new BridgeError('service: expected an https URL');
        }
        if (!in_array($role, ['publisher', 'vendor'], true) || ($role === 'vendor') !== ($vendorId !== null)) {
            throw new BridgeError('role: expected publisher, or vendor with its id of the Global Vendor List');
        }
        if (strlen($seed) !== 32) {
            throw new BridgeError('seed: expected 32 bytes');
        }
        $pair = sodium_crypto_sign_seed_keypair($seed);
        $this->secret = sodium_crypto_sign_secretkey($pair);
        $x = self::base64url(sodium_crypto_sign_publickey($pair));
        // RFC 7638: the members that a public key needs, in the order of their names.
        $this->kid = self::base64url(hash('sha256', '{"crv":"Ed25519","kty":"OKP","x":"' . $x . '"}', true));
        $this->post = $post ?? self::http(...);
        $this->now = $now ?? static fn (): float => microtime(true);
    }

    /**
     * Record that the reader agrees (with $kept: anew); return what to store with the account.
     *
     * @param array{account: ?string, origin?: ?string, fetch_site?: ?string, fetch_dest?: ?string} $reader
     * @param array<string> $purposes
     * @param array{text_sha256: string, language: string, version: string} $notice
     * @param array{tcf?: ?string, gpp?: ?string, gpp_sid?: ?array<int>, gdpr?: ?int} $signals
     */
    public function grant(
        array $reader, array $purposes, array $notice, string $expressedBy, array $signals, ?array $kept = null, int $days = 180,
    ): array {
        $this->check($reader);
        foreach ($purposes as $purpose) {
            isset(Strings::TCF_PURPOSE[$purpose]) || throw new BridgeError('purposes: got an unknown one');
        }
        [$left, $reason] = $this->left($purposes, $signals);
        if ($left === []) {
            throw new NoConsent($reason);
        }
        $body = $this->answer($left, $notice, $expressedBy) + ['days' => $days];
        $body += array_filter(['tcf' => $signals['tcf'] ?? null, 'gpp' => $signals['gpp'] ?? null, 'gpp_sid' => $signals['gpp_sid'] ?? null]);
        if ($kept !== null) {
            $body['sub'] = $kept['sub'];
        }
        $said = $this->call('/v1/consents', $body, 201);
        $answer = [
            'sub' => $said['sub'] ?? null, 'generation' => $said['generation'] ?? null, 'record_id' => $said['record_id'] ?? null,
            'purposes' => $said['purposes'] ?? null, 'expires' => $said['expires'] ?? null, 'notice' => $notice['text_sha256'],
            'status_idx' => $said['status']['idx'] ?? null, 'status_uri' => $said['status']['uri'] ?? null,
            'rights_token' => $said['rights_token'] ?? null,
        ];
        foreach ($answer as $name => $value) {
            $value !== null || throw new BridgeError("/v1/consents: the answer lacks $name");
        }
        return $answer;
    }

    /** Record that a reader refused; nothing that names the reader is sent. */
    public function refuse(array $purposes, array $notice, string $expressedBy): void
    {
        $this->call('/v1/consents', $this->answer($purposes, $notice, $expressedBy) + ['state' => 'refused'], 201);
    }

    /** Mint the next token; null where the consent is over, or today's string leaves none of its purposes. */
    public function token(array $reader, array $kept, array $signals, int $lifeS = 600): ?string
    {
        $this->check($reader);
        if ($lifeS < 1 || $lifeS > 3600) {
            throw new BridgeError('lifeS: expected 1 to 3600 seconds');
        }
        [$left] = $this->left($kept['purposes'], $signals);
        $issued = (int) ($this->now)();
        $remaining = (new \DateTimeImmutable($kept['expires']))->getTimestamp() - $issued;
        if ($left === [] || $remaining <= 0) {
            return null;
        }
        sort($left);
        return $this->jws([
            'iss' => $this->issuer, 'aud' => 'ctx:' . $this->publisher, 'sub' => $kept['sub'],
            'jti' => bin2hex(random_bytes(16)),
            'iat' => $issued, 'nbf' => $issued, 'exp' => $issued + min($lifeS, $remaining), 'gen' => $kept['generation'],
            'pur' => $left, 'notice' => $kept['notice'], 'rec' => $kept['record_id'],
            'status' => ['status_list' => ['idx' => $kept['status_idx'], 'uri' => $kept['status_uri']]],
        ]);
    }

    /** End the consent: every token is void from now on. */
    public function withdraw(array $kept): void
    {
        $this->call('/v1/consents/withdraw', ['publisher' => $this->publisher, 'rights_token' => $kept['rights_token']], 200);
    }

    private function check(array $reader): void
    {
        if (($reader['account'] ?? '') === '') {
            throw new NotFirstParty('account: expected the account that the reader is signed in with');
        }
        $site = $reader['fetch_site'] ?? null;
        // A document that the browser opens by itself is first-party wherever the link stood.
        if (($reader['fetch_dest'] ?? null) === 'document' || $site === 'same-origin' || $site === 'same-site') {
            return;
        }
        if ($site !== null || !in_array($reader['origin'] ?? null, $this->sites, true)) {
            throw new NotFirstParty("request: expected one from the publisher's own pages");
        }
    }

    /** @return array{array<string>, ?string} */
    private function left(array $purposes, array $signals): array
    {
        return Strings::restrict($purposes, $signals, $this->role, $this->vendorId, ($this->now)());
    }

    private function answer(array $purposes, array $notice, string $expressedBy): array
    {
        sort($purposes);
        $shown = ['text_sha256' => $notice['text_sha256'], 'language' => $notice['language'], 'version' => $notice['version']];
        return ['publisher' => $this->publisher, 'purposes' => $purposes, 'notice' => $shown, 'expressed_by' => $expressedBy];
    }

    private function jws(array $claims): string
    {
        $header = ['alg' => 'Ed25519', 'typ' => 'consent+jwt', 'kid' => $this->kid];
        $text = implode('.', array_map(static fn (array $part): string => self::base64url(self::json($part)), [$header, $claims]));
        return $text . '.' . self::base64url(sodium_crypto_sign_detached($text, $this->secret));
    }

    private function call(string $path, array $body, int $expected): array
    {
        $headers = ['Content-Type: application/json', 'Authorization: Bearer ' . $this->apiKey];
        [$status, $answer] = ($this->post)(rtrim($this->service, '/') . $path, $headers, self::json($body));
        if ($status !== $expected) {
            throw new BridgeError("$path: the service answered $status, expected $expected");
        }
        $said = json_decode($answer, true, 16);
        return is_array($said) ? $said : throw new BridgeError("$path: the service did not answer an object");
    }

    /** @return array{int, string} */
    private static function http(string $url, array $headers, string $body): array
    {
        $options = ['method' => 'POST', 'header' => $headers, 'content' => $body, 'timeout' => 5, 'ignore_errors' => true, 'follow_location' => 0];
        $answer = @file_get_contents($url, false, stream_context_create(['http' => $options]));
        if ($answer === false || !preg_match('#^HTTP/\S+ (\d{3})#', $http_response_header[0] ?? '', $found)) {
            throw new BridgeError('the service cannot be reached');
        }
        return [(int) $found[1], $answer];
    }

    private static function json(array $value): string
    {
        return json_encode($value, JSON_UNESCAPED_SLASHES | JSON_THROW_ON_ERROR);
    }

    private static function base64url(string $bytes): string
    {
        return sodium_bin2base64($bytes, SODIUM_BASE64_VARIANT_URLSAFE_NO_PADDING);
    }
}

/** Consent strings of the IAB, read strictly; they only ever take purposes away. */
final class Strings
{
    /** The TCF purpose without whose consent each of ours is refused. */
    public const TCF_PURPOSE = [
        'ads.select.first_party' => 4,
        'ads.profile.first_party' => 3,
        'ads.device.first_party' => 1,
        'ads.cap.first_party' => 2,
        'measure.first_party' => 7,
    ];
    private const LONGEST = 8192;
    private const STALE_S = 397 * 86400;

    /**
     * @return array{array<string>, ?string} the purposes that are left, and why a string is invalid
     */
    public static function restrict(array $purposes, array $signals, string $role, ?int $vendorId, float $now): array
    {
        $applied = array_filter($signals['gpp_sid'] ?? [], static fn (int $number): bool => $number > 0);
        $gdpr = $signals['gdpr'] ?? null;
        $tcf = $signals['tcf'] ?? '';
        $gpp = $signals['gpp'] ?? '';
        $left = array_values($purposes);
        $heard = false;
        $hear = static function (array $said) use (&$left, &$heard, $role, $vendorId, $now): void {
            self::checkLawful($said, $now);
            $kept = static fn (string $purpose): bool => self::consented($said, self::TCF_PURPOSE[$purpose], $role, $vendorId);
            $left = array_values(array_filter($left, $kept));
            $heard = true;
        };
        $kind = 'tcf';
        try {
            if ($tcf !== '') {
                $hear(self::readTcf($tcf));
            }
            $kind = 'gpp';
            if ($gpp !== '') {
                $sections = self::readGpp($gpp);
                foreach ($applied as $number) {
                    array_key_exists($number, $sections) || self::refuse('sections');
                }
                foreach ($sections as $number => $said) {
                    if ($number !== 2) {
                        $left = $said ? [] : $left;
                    } elseif ($applied === [] || in_array(2, $applied, true) || $gdpr === 1) {
                        $hear($said);
                    }
                }
            } elseif ($applied !== []) {
                self::refuse('empty');
            }
            $kind = 'tcf';
            if ($gdpr === 1 && !$heard) {
                self::refuse('empty');
            }
        } catch (Refused $error) {
            return [[], "{$kind}_{$error->getMessage()}"];
        }
        return [$left, null];
    }

    private static function consented(array $said, int $number, string $role, ?int $vendorId): bool
    {
        if (!self::has($said['purposes'], $number)) {
            return false;
        }
        if ($role === 'publisher') {
            return $said['publisher'] === null || self::has($said['publisher'], $number);
        }
        if ($vendorId === null || !self::has($said['vendors'], $vendorId)) {
            return false;
        }
        if ($said['disclosed'] !== null && !self::has($said['disclosed'], $vendorId)) {
            return false;
        }
        foreach ($said['restrictions'] as [$purpose, $restriction, $vendors]) {
            if ($purpose === $number && $restriction !== 1 && self::has($vendors, $vendorId)) {
                return false;
            }
        }
        return true;
    }

    private static function checkLawful(array $said, float $now): void
    {
        $said['policy'] >= 4 || self::refuse('policy');
        $said['specific'] || self::refuse('scope');
        $said['policy'] < 5 || $said['disclosed'] !== null || self::refuse('undisclosed');
        ($said['created'] <= $said['updated'] && $said['updated'] <= $now + 300) || self::refuse('future');
        $now - $said['updated'] <= self::STALE_S || self::refuse('stale');
    }

    private static function checkText(string $text): void
    {
        strlen($text) <= self::LONGEST || self::refuse('too_long');
        !preg_match('/\$\{|\{\{|%%|\[[A-Z]|%24%7B/', $text) || self::refuse('macro');
    }

    public static function readTcf(string $text): array
    {
        self::checkText($text);
        $segments = explode('.', $text);
        $said = self::readCore(array_shift($segments));
        $seen = [];
        foreach ($segments as $segment) {
            $bits = new Bits($segment);
            $kind = $bits->number(3);
            ($kind >= 1 && $kind <= 3 && !isset($seen[$kind])) || self::refuse('segments');
            $seen[$kind] = true;
            if ($kind === 1) {
                $said['disclosed'] = $bits->vendors();
            } elseif ($kind === 2) {
                $bits->vendors();
            } else {
                [$consents, $interests, $custom] = [$bits->field(24), $bits->field(24), $bits->number(6)];
                $bits->field($custom);
                $bits->field($custom);
                if ($said['policy'] <= 5) {
                    self::checkReserved($consents, $interests);
                }
                $said['publisher'] = $consents;
            }
            $bits->end(24);
        }
        return $said;
    }

    private static function readCore(string $segment): array
    {
        $bits = new Bits($segment);
        $bits->number(3) === 0 || self::refuse('segments');
        $bits->number(3) === 2 || self::refuse('version');
        [$created, $updated] = [$bits->number(36) / 10, $bits->number(36) / 10];
        $bits->number(12) >= 2 || self::refuse('cmp');
        $bits->number(12 + 6); // the CMP's version and screen
        $bits->letters();
        $bits->number(12); // the vendor list's version
        [$policy, $specific] = [$bits->number(6), $bits->number(1) === 1];
        $bits->number(1); // texts of the CMP's own
        $special = $bits->field(12);
        [$consents, $interests] = [$bits->field(24), $bits->field(24)];
        $bits->number(1); // purpose 1 was not disclosed
        $bits->letters();
        $vendors = $bits->vendors();
        $bits->vendors(); // legitimate interest, which is no consent
        $restrictions = [];
        for ($left = $bits->number(12); $left > 0; $left--) {
            [$purpose, $kind] = [$bits->number(6), $bits->number(2)];
            $restricted = $bits->ranges(65535);
            ($purpose >= 1 && $purpose <= 11 && $kind !== 3) || self::refuse('restriction');
            $restrictions[] = [$purpose, $kind, $restricted];
        }
        $bits->end(24);
        if ($policy <= 5) {
            !str_contains(substr($special, 2), '1') || self::refuse('reserved');
            self::checkReserved($consents, $interests);
        }
        return [
            'created' => $created, 'updated' => $updated, 'policy' => $policy, 'specific' => $specific, 'purposes' => $consents,
            'vendors' => $vendors, 'restrictions' => $restrictions, 'disclosed' => null, 'publisher' => null,
        ];
    }

    private static function checkReserved(string ...$fields): void
    {
        foreach ($fields as $field) {
            !str_contains(substr($field, 11), '1') || self::refuse('reserved');
        }
    }

    /**
     * Read section number → a TC string, or whether a US section objects. A Canadian section is refused as unknown.
     *
     * @return array<int, array|bool>
     */
    public static function readGpp(string $text): array
    {
        self::checkText($text);
        $bodies = explode('~', $text);
        $bits = new Bits(array_shift($bodies));
        ($bits->number(6) === 3 && $bits->number(6) === 1) || self::refuse('version');
        $numbers = [];
        $last = 0;
        for ($left = $bits->number(12); $left > 0; $left--) {
            $pair = $bits->number(1) === 1;
            $start = $last + $bits->fibonacci();
            $last = $pair ? $start + $bits->fibonacci() : $start;
            ($last - $start <= 64 && $last <= 65535) || self::refuse('sections');
            array_push($numbers, ...range($start, $last));
        }
        $bits->end(12);
        count($numbers) === count($bodies) || self::refuse('sections');
        $sections = [];
        foreach ($numbers as $at => $number) {
            $sections[$number] = self::readSection($number, $bodies[$at]);
        }
        return $sections;
    }

    private static function readSection(int $number, string $body): array|bool
    {
        // How each section of the US states is laid out; written from the Python readers, which the tests hold it to.
        static $sections = null;
        $sections ??= json_decode(file_get_contents(__DIR__ . '/us_sections.json'), true, 16, JSON_THROW_ON_ERROR);
        if ($number === 2) {
            return self::readTcf($body);
        }
        if ($number === 6) {
            preg_match('/^1[YN-][YN-][YN-]$/D', $body) || self::refuse('value');
            return $body[2] === 'Y';
        }
        isset($sections[$number]) || self::refuse('section');
        $segments = explode('.', $body);
        $bits = new Bits(array_shift($segments));
        $version = $bits->number(6);
        $found = array_values(array_filter($sections[$number], static fn (array $one): bool => $one['version'] === $version));
        $section = $found[0] ?? self::refuse('version');
        $objects = false;
        foreach ($section['layout'] as [$name, $count]) {
            for ($at = 0; $at < $count; $at++) {
                $value = $bits->number(2);
                ($value !== 3 && ($name !== 'MspaCoveredTransaction' || $value !== 0)) || self::refuse('value');
                $objects = $objects || ($value === 1 && in_array($name, $section['no'], true)) || ($value > 0 && $name === $section['child']);
            }
        }
        $bits->end(12);
        count($segments) <= ($section['gpc'] || $section['sensitive'] ? 1 : 0) || self::refuse('segments');
        if ($segments !== []) {
            $second = new Bits($segments[0]);
            if ($section['sensitive']) {
                for ($at = 0; $at < $section['sensitive']; $at++) {
                    $second->number(2) !== 3 || self::refuse('value');
                }
            } else {
                $second->number(2) === 1 || self::refuse('segments');
                $objects = $second->number(1) === 1 || $objects;
            }
            $second->end(12);
        }
        return $objects;
    }

    /** Say whether a field of bits (the first being id 1) or a list of ranges holds an id. */
    private static function has(string|array $found, int $id): bool
    {
        if (is_string($found)) {
            return $id > 0 && ($found[$id - 1] ?? '0') === '1';
        }
        foreach ($found as [$start, $end]) {
            if ($start <= $id && $id <= $end) {
                return true;
            }
        }
        return false;
    }

    private static function refuse(string $rule): never
    {
        throw new Refused($rule);
    }
}

/** A string that is refused; the message is the rule. */
final class Refused extends \RuntimeException {}

/** A segment in base64url, read from its front. */
final class Bits
{
    private const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    private string $bits = '';
    private int $at = 0;

    public function __construct(string $segment)
    {
        if (!preg_match('/^[A-Za-z0-9_-]+$/D', $segment)) {
            throw new Refused($segment === '' ? 'segments' : 'alphabet');
        }
        foreach (str_split($segment) as $letter) {
            $this->bits .= sprintf('%06b', strpos(self::LETTERS, $letter));
        }
    }

    public function field(int $width): string
    {
        $this->at += $width;
        if ($this->at > strlen($this->bits)) {
            throw new Refused('truncated');
        }
        return substr($this->bits, $this->at - $width, $width);
    }

    public function number(int $width): int
    {
        return (int) bindec($this->field($width));
    }

    public function letters(): void
    {
        [$first, $second] = [$this->number(6), $this->number(6)];
        if ($first > 25 || $second > 25) {
            throw new Refused('letters');
        }
    }

    public function vendors(): string|array
    {
        $most = $this->number(16);
        return $this->number(1) === 1 ? $this->ranges($most) : $this->field($most);
    }

    /** @return array<array{int, int}> */
    public function ranges(int $most): array
    {
        $found = [];
        for ($left = $this->number(12); $left > 0; $left--) {
            $pair = $this->number(1) === 1;
            $start = $this->number(16);
            $end = $pair ? $this->number(16) : $start;
            if (!($start > 0 && $start <= $end && $end <= $most)) {
                throw new Refused('range');
            }
            $found[] = [$start, $end];
        }
        return $found;
    }

    public function fibonacci(): int
    {
        $stop = strpos($this->bits, '11', min($this->at, strlen($this->bits)));
        if ($stop === false) {
            throw new Refused('truncated');
        }
        if ($stop - $this->at > 24) {
            throw new Refused('range');
        }
        [$value, $a, $b] = [0, 1, 2];
        foreach (str_split(substr($this->bits, $this->at, $stop + 1 - $this->at)) as $digit) {
            $value += $digit === '1' ? $a : 0;
            [$a, $b] = [$b, $a + $b];
        }
        $this->at = $stop + 2;
        return $value;
    }

    public function end(int $padding): void
    {
        $rest = substr($this->bits, $this->at);
        if (strlen($rest) >= $padding) {
            throw new Refused('too_much');
        }
        if (str_contains($rest, '1')) {
            throw new Refused('padding');
        }
    }
}
