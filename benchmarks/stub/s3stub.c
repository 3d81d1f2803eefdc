/* An S3 server in memory that costs as little as possible, to measure clients. Loopback only.
 *
 *   s3stub -p PORT [-l KEYS] [-d MICROSECONDS] [-n | -c] [-6]
 *
 *   -l  how many keys the bucket "list" has; "list-N" has the first N of them (default 100000)
 *   -d  sleep so long before each answer, "100 Continue" included, as a network would
 *   -n  no MD5 and no checks: ETags are mere names
 *   -c  no MD5, but checksum headers are computed and checked
 *   -6  CRC64NVME is not known, as it is to most servers
 *
 * Requests are not authenticated. One thread a connection. What a request says of its body
 * (Content-MD5, x-amz-checksum-crc32 and -crc64nvme, as a header or trailer) is compared with the
 * body, and refused if wrong. Conditions on GET, HEAD, PUT, DELETE, copies and Complete count.
 * ETags are those of S3: MD5, or MD5 of MD5s with the number of parts; a copy gets its own.
 * Of a bucket whose name begins with "null" the bodies are not kept: GET answers 501. There is no
 * versioning, and any bucket exists. GET / tells in the header x-stub-seen how the bodies since the
 * last one were signed, and which digests came along with them.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <endian.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 1 << 17, BUFFER = 1 << 17, BLOCK = 1 << 18, HEADERS = 100, PARTS = 10000, SUMS = 2 };
enum { QUESTION = 64 }; /* smaller bodies only ask what the server honours */
static int with_md5 = 1, with_sums = 1, known_sums = 2, delay_us, listed = 100000;
static atomic_ulong counter = 1;
static atomic_int seen; /* how the bodies were signed, and which digests came along */
static const char *sights[] = {"signed", "unsigned", "chunks", "Content-MD5", "CRC32", "CRC64NVME"};
#define NAMESPACE " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""
#define XML "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define XML_HEADER "Content-Type: application/xml\r\n"
#define DATE "2026-11-21T00:00:00.000Z" /* of what is listed; HEAD and GET tell the real one */
#define ETAG "<ETag>&quot;%s&quot;</ETag>"
#define CLASS "<StorageClass>STANDARD</StorageClass>"

/* ---- checksums: CRC32 and CRC64NVME, bits reversed; for machines with little endian ---- */

typedef struct { const char *header, *tag; int bytes; uint64_t polynomial, table[8][256]; } sum_kind;
static sum_kind kinds[SUMS] = {
    {.header = "x-amz-checksum-crc32", .tag = "CRC32", .bytes = 4, .polynomial = 0xEDB88320},
    {.header = "x-amz-checksum-crc64nvme", .tag = "CRC64NVME", .bytes = 8,
     .polynomial = 0x9A6C9329AC4BC9B5},
};

static void make_tables(sum_kind *k) {
    for (int i = 0; i < 256; i++) {
        uint64_t x = i;
        for (int bit = 0; bit < 8; bit++) x = x & 1 ? x >> 1 ^ k->polynomial : x >> 1;
        k->table[0][i] = x;
    }
    for (int row = 1; row < 8; row++)
        for (int i = 0; i < 256; i++) {
            uint64_t x = k->table[row - 1][i];
            k->table[row][i] = k->table[0][x & 255] ^ x >> 8;
        }
}

static uint64_t add_to_sum(const sum_kind *k, uint64_t sum, const char *data, size_t n) {
    uint64_t ones = k->bytes == 8 ? ~0ull : ~0u;
    for (sum ^= ones; n >= 8; n -= 8, data += 8) {
        uint64_t x;
        memcpy(&x, data, 8);
        x ^= sum;
        sum = 0;
        for (int i = 0; i < 8; i++) sum ^= k->table[7 - i][x >> 8 * i & 255];
    }
    while (n--) sum = k->table[0][(sum ^ (unsigned char)*data++) & 255] ^ sum >> 8;
    return sum ^ ones;
}

static uint64_t times(const sum_kind *k, uint64_t a, uint64_t b) {
    uint64_t product = 0;
    for (uint64_t bit = 1ull << (8 * k->bytes - 1); bit; bit >>= 1) {
        if (a & bit) product ^= b;
        b = b & 1 ? b >> 1 ^ k->polynomial : b >> 1;
    }
    return product;
}

/* The sum of two pieces, from theirs and the length of the second. */
static uint64_t joined(const sum_kind *k, uint64_t first, uint64_t second, size_t n) {
    uint64_t power = 1ull << (8 * k->bytes - 9); /* x to the 8th: one byte */
    for (; n; n >>= 1, power = times(k, power, power))
        if (n & 1) first = times(k, first, power);
    return first ^ second;
}

static void sum_text(const sum_kind *k, uint64_t sum, char *out) {
    uint64_t big = htobe64(sum);
    EVP_EncodeBlock((void *)out, (unsigned char *)&big + 8 - k->bytes, k->bytes);
}

/* ---- what is stored ---- */

typedef struct { /* the body of one request */
    atomic_int users;
    size_t size;
    unsigned char md5[16];
    int has[SUMS];
    uint64_t sums[SUMS];
    char *data; /* NULL in a bucket that keeps none */
} blob;
typedef struct {
    atomic_int users;
    size_t size;
    int count, in_parts;
    blob **blobs;
    char etag[48], sums[160], when[64], *headers;
} object;
typedef struct entry { struct entry *next; char *path; object *object; } entry;
typedef struct upload {
    struct upload *next;
    char id[24], path[1400], *headers;
    int kind, whole; /* the declared checksum, or -1; whether it is one of the whole */
    blob *parts[PARTS + 1];
} upload;

static entry *slots[SLOTS];
static upload *uploads;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void drop_blob(blob *b) {
    if (b && atomic_fetch_sub(&b->users, 1) == 1) free(b->data), free(b);
}

static void drop(object *o) {
    if (!o || atomic_fetch_sub(&o->users, 1) != 1) return;
    for (int i = 0; i < o->count; i++) drop_blob(o->blobs[i]);
    free(o->blobs), free(o->headers), free(o);
}

static entry **slot_of(const char *path) {
    unsigned hash = 2166136261u;
    for (const char *c = path; *c; c++) hash = (hash ^ (unsigned char)*c) * 16777619u;
    entry **at = &slots[hash % SLOTS];
    while (*at && strcmp((*at)->path, path)) at = &(*at)->next;
    return at;
}

static object *find(const char *path) {
    pthread_mutex_lock(&lock);
    entry *e = *slot_of(path);
    object *found = e ? e->object : NULL;
    if (found) atomic_fetch_add(&found->users, 1);
    pthread_mutex_unlock(&lock);
    return found;
}

static void etag_of(const blob *b, char *out) {
    if (!with_md5) sprintf(out, "stub%016llx", *(unsigned long long *)b->md5);
    else for (int i = 0; i < 16; i++) sprintf(out + 2 * i, "%02x", b->md5[i]);
}

static object *new_object(int count, char *headers) {
    object *o = calloc(1, sizeof *o);
    time_t now = time(NULL);
    struct tm tm;
    strftime(o->when, sizeof o->when, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    o->users = 1;
    o->headers = headers, o->blobs = calloc(count, sizeof(blob *));
    return o;
}

static object *object_of(blob *b, char *headers) {
    object *o = new_object(1, headers);
    o->blobs[o->count++] = b, o->size = b->size;
    etag_of(b, o->etag);
    for (int i = 0; i < SUMS; i++) if (b->has[i]) {
        char text[20];
        sum_text(&kinds[i], b->sums[i], text);
        sprintf(o->sums, "%s: %s\r\nx-amz-checksum-type: FULL_OBJECT\r\n", kinds[i].header, text);
    }
    return o;
}

/* ---- requests ---- */

typedef struct { int fd; size_t begin, end; char *data; } stream;
typedef struct {
    stream *in;
    char method[8], path[1400], bucket[64], query[4096], date[64];
    const char *key;
    int count, has_length;
    struct { char *name, *value; } headers[HEADERS];
    char text[BUFFER], trailer[200];
} request;

static const char *header(const request *r, const char *name) {
    for (int i = 0; i < r->count; i++)
        if (!strcasecmp(r->headers[i].name, name)) return r->headers[i].value;
    return NULL;
}

static int fill(stream *in) {
    memmove(in->data, in->data + in->begin, in->end - in->begin);
    in->end -= in->begin, in->begin = 0;
    ssize_t n = in->end < BUFFER ? recv(in->fd, in->data + in->end, BUFFER - in->end, 0) : -1;
    if (n > 0) in->end += n;
    return n > 0 ? 0 : -1;
}

static int read_line(stream *in, char *out, size_t room) {
    char *end;
    while (!(end = memmem(in->data + in->begin, in->end - in->begin, "\r\n", 2)))
        if (fill(in)) return -1;
    size_t n = end - (in->data + in->begin);
    if (n >= room) return -1;
    memcpy(out, in->data + in->begin, n), out[n] = 0, in->begin += n + 2;
    return 0;
}

static void decode(char *text, int plus) {
    char *to = text;
    for (unsigned x; *text; text++)
        if (*text == '%' && sscanf(text + 1, "%2x", &x) == 1) *to++ = x, text += 2;
        else *to++ = plus && *text == '+' ? ' ' : *text;
    *to = 0;
}

static int asked(const request *r, const char *name, char *value, size_t room) {
    size_t n = strlen(name);
    for (const char *q = r->query; *q; q += *q == '&') {
        const char *end = strchrnul(q, '&');
        if (!strncmp(q, name, n) && (q[n] == '=' || q + n == end)) {
            int size = q[n] == '=' ? (int)(end - q - n - 1) : 0;
            if (value) snprintf(value, room, "%.*s", size, q + n + 1), decode(value, 1);
            return 1;
        }
        q = end;
    }
    if (value) *value = 0;
    return 0;
}

static long number(const request *r, const char *name, long otherwise) {
    char text[32];
    return asked(r, name, text, sizeof text) && *text ? atol(text) : otherwise;
}

static int read_head(request *r) {
    stream *in = r->in;
    char *end, *save, *line;
    while (!(end = memmem(in->data + in->begin, in->end - in->begin, "\r\n\r\n", 4)))
        if (fill(in)) return -1;
    size_t n = end - (in->data + in->begin);
    memcpy(r->text, in->data + in->begin, n), r->text[n] = 0, in->begin += n + 4;
    r->count = 0, *r->trailer = *r->query = 0;
    if (!(line = strtok_r(r->text, "\r\n", &save))) return -1;
    if (sscanf(line, "%7s %1399[^? ]?%4095s", r->method, r->path, r->query) < 2) return -1;
    if (!strncmp(r->query, "HTTP/", 5)) *r->query = 0;
    decode(r->path, 0);
    for (; (line = strtok_r(NULL, "\r\n", &save)) && r->count < HEADERS; r->count++) {
        char *colon = strchr(line, ':');
        if (!colon) return -1;
        *colon = 0, r->headers[r->count].name = line;
        r->headers[r->count].value = colon + 1 + strspn(colon + 1, " ");
    }
    char *slash = strchrnul(r->path + 1, '/');
    snprintf(r->bucket, sizeof r->bucket, "%.*s", (int)(slash - r->path - 1), r->path + 1);
    r->key = *slash ? slash + 1 : slash;
    return 0;
}

/* ---- answers ---- */

static int send_all(int fd, struct iovec *v, int n) {
    while (n) {
        ssize_t sent = writev(fd, v, n < 64 ? n : 64);
        if (sent < 0) return -1;
        for (; n && (size_t)sent >= v->iov_len; v++, n--) sent -= v->iov_len;
        if (n) v->iov_base = (char *)v->iov_base + sent, v->iov_len -= sent;
    }
    return 0;
}

static int head(char *out, int status, size_t length, const char *extra) {
    char date[64];
    time_t now = time(NULL);
    struct tm tm;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    int n = sprintf(out, "HTTP/1.1 %d %s\r\nServer: s3stub\r\nx-amz-request-id: %lu\r\nDate: %s\r\n%s",
                    status, status < 400 ? "OK" : "Refused", atomic_fetch_add(&counter, 1), date, extra);
    if (status != 204 && status != 304) n += sprintf(out + n, "Content-Length: %zu\r\n", length);
    return n + sprintf(out + n, "\r\n");
}

static int answer(request *r, int status, const char *extra, const char *body, size_t size) {
    char top[BUFFER / 8];
    struct iovec v[2] = {{top, head(top, status, size, extra)}, {(void *)body, size}};
    return send_all(r->in->fd, v, size && strcmp(r->method, "HEAD") ? 2 : 1);
}

__attribute__((format(printf, 2, 3))) static int xml(request *r, const char *form, ...) {
    char body[4096];
    va_list rest;
    va_start(rest, form);
    int n = sprintf(body, XML);
    n += vsnprintf(body + n, sizeof body - n, form, rest);
    va_end(rest);
    return answer(r, 200, XML_HEADER, body, n);
}

static int refuse(request *r, int status, const char *code) {
    char body[300];
    int n = sprintf(body, XML "<Error><Code>%s</Code>"
                    "<Message>refused by the stub</Message></Error>", code);
    return answer(r, status, XML_HEADER, body, status == 304 ? 0 : n);
}

static int refuse_condition(request *r, int status) {
    return refuse(r, status, status == 404 ? "NoSuchKey" : "PreconditionFailed");
}

/* ---- bodies ---- */

typedef struct { blob *blob; size_t room; int kind, keep; EVP_MD_CTX *md5; char *scratch; } sink;

static void note(sink *s, const char *data, size_t n) {
    if (with_md5) EVP_DigestUpdate(s->md5, data, n);
    if (s->kind >= 0) s->blob->sums[s->kind] = add_to_sum(&kinds[s->kind], s->blob->sums[s->kind], data, n);
    s->blob->size += n;
}

static int take(stream *in, size_t n, sink *s) { /* the next n bytes belong to the body */
    if (s->keep && s->blob->size + n > s->room) {
        s->room = s->room ? 2 * (s->blob->size + n) : n;
        s->blob->data = realloc(s->blob->data, s->room + 1);
    }
    while (n) {
        char *to = s->keep ? s->blob->data + s->blob->size : s->scratch;
        size_t got = in->end - in->begin;
        if (got > n) got = n;
        if (got > BLOCK) got = BLOCK;
        if (got) memcpy(to, in->data + in->begin, got), in->begin += got;
        else {
            ssize_t read = recv(in->fd, to, n < BLOCK ? n : BLOCK, 0);
            if (read <= 0) return -1;
            got = read;
        }
        note(s, to, got), n -= got;
    }
    return 0;
}

static int take_chunks(stream *in, sink *s, request *r) { /* of HTTP, or of S3: they look alike */
    char line[400];
    for (size_t n = 1; n;) {
        if (read_line(in, line, sizeof line)) return -1;
        if ((n = strtoull(line, NULL, 16)) && (take(in, n, s) || read_line(in, line, sizeof line))) return -1;
    }
    while (!read_line(in, line, sizeof line) && *line)
        if (!strncasecmp(line, "x-amz-checksum-", 15))
            snprintf(r->trailer, sizeof r->trailer, "%.190s", line);
    return 0;
}

static int take_body(request *r, sink *s) {
    const char *length = header(r, "content-length"), *coding = header(r, "transfer-encoding");
    const char *hash = header(r, "x-amz-content-sha256"), *content = header(r, "content-encoding");
    int framed = (hash && !strncmp(hash, "STREAMING-", 10)) || (content && strstr(content, "aws-chunked"));
    if (header(r, "expect")) {
        if (delay_us) usleep(delay_us);
        struct iovec v = {"HTTP/1.1 100 Continue\r\n\r\n", 25};
        if (send_all(r->in->fd, &v, 1)) return -1;
    }
    if (!coding || !strcasestr(coding, "chunked"))
        return framed ? take_chunks(r->in, s, r) : take(r->in, length ? strtoull(length, NULL, 10) : 0, s);
    return framed ? -1 : take_chunks(r->in, s, r); /* both at once come with https alone */
}

/* Which checksum the request states, -1 if none; its value, once a trailer has been read. */
static int stated_sum(const request *r, const char **value) {
    const char *trailer = header(r, "x-amz-trailer");
    for (int i = 0; i < known_sums; i++) {
        size_t n = strlen(kinds[i].header);
        if ((*value = header(r, kinds[i].header))) return i;
        if (trailer && !strcasecmp(trailer, kinds[i].header)) {
            const char *sent = r->trailer + n + 1;
            *value = strncasecmp(r->trailer, trailer, n) ? "" : sent + strspn(sent, " ");
            return i;
        }
    }
    return -1;
}

static __thread EVP_MD_CTX *thread_md5;
static __thread char *thread_scratch;

/* Read the body. *wrong says what it is refused for; NULL if the connection broke. */
static blob *read_blob(request *r, int keep, const char **wrong) {
    const char *value, *stated = header(r, "content-md5");
    const char *length = header(r, "x-amz-decoded-content-length");
    if (!length) length = header(r, "content-length");
    int is_put = !strcmp(r->method, "PUT"); /* Complete states a checksum of something else */
    blob *b = calloc(1, sizeof *b);
    b->users = 1;
    sink s = {b, length ? strtoull(length, NULL, 10) : 0, -1, keep, thread_md5, thread_scratch};
    if (with_sums && is_put) s.kind = stated_sum(r, &value);
    if (keep) b->data = malloc(s.room + 1);
    if (with_md5) EVP_DigestInit_ex(s.md5, EVP_md5(), NULL);
    if (take_body(r, &s)) return drop_blob(b), NULL;
    if (with_md5) EVP_DigestFinal_ex(s.md5, b->md5, NULL);
    else *(unsigned long *)b->md5 = atomic_fetch_add(&counter, 1);
    char text[40];
    *wrong = NULL;
    if (s.kind >= 0) {
        b->has[s.kind] = 1, stated_sum(r, &value), sum_text(&kinds[s.kind], b->sums[s.kind], text);
        if (strcmp(text, value)) *wrong = "BadDigest";
    }
    EVP_EncodeBlock((void *)text, b->md5, 16);
    if (with_md5 && stated && strcmp(text, stated)) *wrong = "BadDigest";
    return b;
}

/* ---- objects ---- */

static int same_etag(const char *condition, const char *etag) {
    return !strcmp(condition, "*") || (*etag && strstr(condition, etag));
}

/* 0 if the conditions of a request hold for what there is, else the status of the refusal. */
static int unmet(const request *r, const object *there, const char *prefix) {
    char name[64];
    sprintf(name, "%sif-match", prefix);
    const char *match = header(r, name);
    sprintf(name, "%sif-none-match", prefix);
    const char *none = header(r, name);
    if (match && !there) return 404;
    if (match && !same_etag(match, there->etag)) return 412;
    return none && there && same_etag(none, there->etag) ? 412 : 0;
}

/* Put an object, or nothing, under the path of the request; takes the object over. */
static int store(const request *r, const char *path, object *o) {
    pthread_mutex_lock(&lock);
    entry **at = slot_of(path), *e = *at;
    object *old = o;
    int status = r ? unmet(r, e ? e->object : NULL, "") : 0;
    if (!status) {
        old = e ? e->object : NULL;
        if (e && !o) *at = e->next, free(e->path), free(e);
        else if (e) e->object = o;
        else if (o) {
            *at = e = calloc(1, sizeof *e);
            e->path = strdup(path), e->object = o;
        }
    }
    pthread_mutex_unlock(&lock);
    drop(old);
    return status;
}

static char *kept_headers(const request *r) {
    static const char *names[] = {"content-type", "cache-control", "content-disposition",
                                  "content-language", "expires"};
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    for (int i = 0; i < r->count; i++) {
        int keep = !strncasecmp(r->headers[i].name, "x-amz-meta-", 11);
        for (int k = 0; k < 5; k++) keep |= !strcasecmp(r->headers[i].name, names[k]);
        if (keep) fprintf(f, "%s: %s\r\n", r->headers[i].name, r->headers[i].value);
    }
    fclose(f);
    return text;
}

static int get(request *r) {
    object *o = find(r->path);
    if (!o) return refuse(r, 404, "NoSuchKey");
    long from = 0, to = (long)o->size - 1, part = number(r, "partNumber", 0);
    const char *range = header(r, "range"), *none = header(r, "if-none-match");
    int status = unmet(r, o, ""), is_head = !strcmp(r->method, "HEAD"), partial = 0, n = 0, failed;
    if (status == 412 && none && same_etag(none, o->etag)) status = 304;
    if (range && !strncmp(range, "bytes=-", 7)) partial = 1, from = (long)o->size - atol(range + 7);
    else if (range && sscanf(range, "bytes=%ld-%ld", &from, &to) >= 1) partial = 1;
    if (from < 0) from = 0;
    if (to >= (long)o->size) to = (long)o->size - 1;
    if (!status && ((partial && from > to) || part > o->count)) status = 416;
    if (!status && !is_head && o->size && !o->blobs[0]->data) status = 501;
    if (status) {
        drop(o);
        if (status == 412) return refuse_condition(r, status);
        return refuse(r, status, status == 416 ? "InvalidRange" : "NotImplemented");
    }
    if (part) {
        for (int i = 0; i < part - 1; i++) from += o->blobs[i]->size;
        to = from + (long)o->blobs[part - 1]->size - 1, partial = o->size > 0;
    }
    char top[BUFFER / 8], extra[BUFFER / 16];
    const char *mode = header(r, "x-amz-checksum-mode");
    n = snprintf(extra, sizeof extra, "Last-Modified: %s\r\nETag: \"%s\"\r\nAccept-Ranges: bytes\r\n%s%s",
                 o->when, o->etag, mode && !partial ? o->sums : "", o->headers ? o->headers : "");
    if (partial) n += sprintf(extra + n, "Content-Range: bytes %ld-%ld/%zu\r\n", from, to, o->size);
    if (part && o->in_parts) sprintf(extra + n, "x-amz-mp-parts-count: %d\r\n", o->count);
    struct iovec *v = malloc((o->count + 1) * sizeof *v);
    v[0] = (struct iovec){top, head(top, partial ? 206 : 200, to - from + 1, extra)}, n = 1;
    for (int i = 0; i < o->count && !is_head; i++) {
        long size = (long)o->blobs[i]->size, a = from > 0 ? from : 0, b = to < size ? to + 1 : size;
        if (a < b) v[n++] = (struct iovec){o->blobs[i]->data + a, b - a};
        from -= size, to -= size;
    }
    failed = send_all(r->in->fd, v, n);
    return free(v), drop(o), failed;
}

static blob *piece(const object *o, size_t from, size_t n, int kind) { /* a copy, hashed anew */
    blob *b = calloc(1, sizeof *b);
    b->users = 1;
    b->data = malloc(n + 1);
    sink s = {b, n, kind, 1, thread_md5, NULL};
    if (with_md5) EVP_DigestInit_ex(s.md5, EVP_md5(), NULL);
    for (int i = 0; i < o->count; i++) {
        blob *each = o->blobs[i];
        size_t here = each->size > from ? each->size - from : 0;
        if (here > n - b->size) here = n - b->size;
        char *to = b->data + b->size;
        if (here) memcpy(to, each->data + from, here), note(&s, to, here);
        from -= from < each->size ? from : each->size;
    }
    if (with_md5) EVP_DigestFinal_ex(s.md5, b->md5, NULL);
    else *(unsigned long *)b->md5 = atomic_fetch_add(&counter, 1);
    if (kind >= 0) b->has[kind] = 1;
    return b;
}

static upload **upload_of(const request *r) { /* hold the lock */
    char id[24];
    asked(r, "uploadId", id, sizeof id);
    upload **at = &uploads;
    while (*at && (strcmp((*at)->id, id) || strcmp((*at)->path, r->path))) at = &(*at)->next;
    return at;
}

static void forget(upload **at) {
    upload *u = *at;
    *at = u->next;
    for (int i = 1; i <= PARTS; i++) drop_blob(u->parts[i]);
    free(u->headers), free(u);
}

static const char *put_part(request *r, blob *b) { /* what it is refused for; takes the blob over */
    long part = number(r, "partNumber", 0);
    const char *wrong = NULL;
    pthread_mutex_lock(&lock);
    upload *u = *upload_of(r);
    if (!u) wrong = "NoSuchUpload";
    else if (part < 1 || part > PARTS) wrong = "InvalidArgument";
    else if (with_sums && u->kind >= 0 && !b->has[u->kind]) wrong = "InvalidRequest";
    else drop_blob(u->parts[part]), u->parts[part] = b;
    pthread_mutex_unlock(&lock);
    if (wrong) drop_blob(b);
    return wrong;
}

static int copy(request *r) {
    char source[1400], etag[48], *question;
    const char *given = header(r, "x-amz-copy-source"), *range = header(r, "x-amz-copy-source-range");
    int is_part = asked(r, "uploadId", NULL, 0), kind = -1, status;
    snprintf(source, sizeof source, "%s%s", *given == '/' ? "" : "/", given);
    if ((question = strchr(source, '?'))) *question = 0;
    decode(source, 0);
    object *from = find(source);
    if (!from) return refuse(r, 404, "NoSuchKey");
    size_t a = 0, b = from->size ? from->size - 1 : 0;
    if (range) sscanf(range, "bytes=%zu-%zu", &a, &b);
    if ((status = unmet(r, from, "x-amz-copy-source-"))) return drop(from), refuse_condition(r, status);
    if ((from->size && !from->blobs[0]->data) || b > from->size)
        return drop(from), refuse(r, 501, "NotImplemented");
    pthread_mutex_lock(&lock);
    if (is_part && *upload_of(r)) kind = (*upload_of(r))->kind;
    pthread_mutex_unlock(&lock);
    blob *made = piece(from, a, from->size ? b - a + 1 : 0, kind);
    const char *replace = header(r, "x-amz-metadata-directive"), *wrong;
    int is_new = replace && !strcasecmp(replace, "REPLACE");
    char *headers = is_new ? kept_headers(r) : strdup(from->headers ? from->headers : "");
    drop(from), etag_of(made, etag);
    if (is_part) {
        free(headers);
        if ((wrong = put_part(r, made))) return refuse(r, !strcmp(wrong, "NoSuchUpload") ? 404 : 400, wrong);
    } else if ((status = store(r, r->path, object_of(made, headers))))
        return refuse_condition(r, status);
    const char *tag = is_part ? "CopyPartResult" : "CopyObjectResult";
    return xml(r, "<%s" NAMESPACE "><LastModified>" DATE "</LastModified>" ETAG "</%s>", tag, etag, tag);
}

static int put(request *r, blob *b) {
    char extra[600], etag[48];
    etag_of(b, etag);
    int n = sprintf(extra, "ETag: \"%s\"\r\n", etag), status;
    for (int i = 0; i < SUMS; i++) if (b->has[i]) {
        char text[20];
        sum_text(&kinds[i], b->sums[i], text), n += sprintf(extra + n, "%s: %s\r\n", kinds[i].header, text);
    }
    if (asked(r, "uploadId", NULL, 0)) {
        const char *wrong = put_part(r, b);
        if (wrong) return refuse(r, !strcmp(wrong, "NoSuchUpload") ? 404 : 400, wrong);
    } else if ((status = store(r, r->path, object_of(b, kept_headers(r)))))
        return refuse_condition(r, status);
    return answer(r, 200, extra, NULL, 0);
}

/* ---- uploads in parts ---- */

static int begin_upload(request *r) {
    upload *u = calloc(1, sizeof *u);
    const char *kind = header(r, "x-amz-checksum-algorithm"), *type = header(r, "x-amz-checksum-type");
    u->kind = -1, u->headers = kept_headers(r);
    for (int i = 0; i < known_sums && kind; i++) if (!strcasecmp(kind, kinds[i].tag)) u->kind = i;
    u->whole = u->kind == 1 || (type && !strcasecmp(type, "FULL_OBJECT"));
    strcpy(u->path, r->path), sprintf(u->id, "u%lu", atomic_fetch_add(&counter, 1));
    char id[24];
    strcpy(id, u->id);
    pthread_mutex_lock(&lock);
    u->next = uploads, uploads = u;
    pthread_mutex_unlock(&lock);
    return xml(r, "<InitiateMultipartUploadResult" NAMESPACE "><Bucket>%s</Bucket><UploadId>%s</UploadId>"
               "</InitiateMultipartUploadResult>", r->bucket, id);
}

/* The object of the parts that the body names; NULL with the reason. Hold the lock. */
static object *assembled(const request *r, upload *u, char *body, const char **wrong) {
    object *o = new_object(PARTS, NULL);
    EVP_DigestInit_ex(thread_md5, EVP_md5(), NULL);
    uint64_t sum = 0, sums = 0;
    int last = 0;
    for (char *p = body, *end; (p = strstr(p, "<Part>")) && (end = strstr(p, "</Part>")); p = end + 1) {
        *end = 0;
        char *named = strstr(p, "<PartNumber>"), etag[48];
        int n = named ? atoi(named + 12) : 0;
        blob *b = n > 0 && n <= PARTS ? u->parts[n] : NULL;
        if (b) etag_of(b, etag);
        if (!b || !strstr(p, etag)) return *wrong = "InvalidPart", drop(o), NULL;
        if (n <= last) return *wrong = "InvalidPartOrder", drop(o), NULL;
        last = n, atomic_fetch_add(&b->users, 1);
        o->blobs[o->count++] = b, o->size += b->size;
        EVP_DigestUpdate(thread_md5, b->md5, 16);
        if (u->kind < 0 || !b->has[u->kind]) continue;
        const sum_kind *k = &kinds[u->kind];
        uint64_t big = htobe64(b->sums[u->kind]);
        sum = joined(k, sum, b->sums[u->kind], b->size);
        sums = add_to_sum(k, sums, (char *)&big + 8 - k->bytes, k->bytes);
    }
    const char *size = header(r, "x-amz-mp-object-size"), *given = NULL;
    if (!o->count) return *wrong = "MalformedXML", drop(o), NULL;
    if (size && strtoull(size, NULL, 10) != o->size) return *wrong = "InvalidRequest", drop(o), NULL;
    blob md5 = {0};
    EVP_DigestFinal_ex(thread_md5, md5.md5, NULL), o->in_parts = 1;
    if (!with_md5) *(unsigned long *)md5.md5 = atomic_fetch_add(&counter, 1);
    etag_of(&md5, o->etag), sprintf(o->etag + strlen(o->etag), with_md5 ? "-%d" : "", o->count);
    if (u->kind >= 0 && with_sums) {
        char text[20], count[16] = "";
        sum_text(&kinds[u->kind], u->whole ? sum : sums, text);
        if ((given = header(r, kinds[u->kind].header)) && u->whole && strcmp(given, text))
            return *wrong = "BadDigest", drop(o), NULL;
        if (!u->whole) sprintf(count, "-%d", o->count);
        sprintf(o->sums, "%s: %s%s\r\nx-amz-checksum-type: %s\r\n", kinds[u->kind].header, text, count,
                u->whole ? "FULL_OBJECT" : "COMPOSITE");
    }
    return o;
}

static int complete(request *r, char *body) {
    const char *wrong = NULL;
    char etag[48];
    pthread_mutex_lock(&lock);
    upload *u = *upload_of(r);
    object *o = u ? assembled(r, u, body, &wrong) : NULL;
    if (o) strcpy(etag, o->etag), o->headers = strdup(u->headers);
    pthread_mutex_unlock(&lock);
    if (!u) return refuse(r, 404, "NoSuchUpload");
    if (!o) return refuse(r, 400, wrong);
    int status = store(r, r->path, o);
    if (status) return refuse_condition(r, status);
    pthread_mutex_lock(&lock);
    if (*upload_of(r)) forget(upload_of(r));
    pthread_mutex_unlock(&lock);
    return xml(r, "<CompleteMultipartUploadResult" NAMESPACE "><Bucket>%s</Bucket>" ETAG
               "</CompleteMultipartUploadResult>", r->bucket, etag);
}

/* ---- lists ---- */

static char *list_text, (*list_keys)[32];
static size_t *list_at;

static void make_list(void) {
    list_text = malloc(300ul * listed + 1), list_keys = malloc(32ul * listed + 1);
    list_at = malloc((listed + 1) * sizeof *list_at);
    char *to = list_text;
    for (int i = 0; i < listed; i++) {
        unsigned char md5[16];
        char hex[33];
        int n = sprintf(list_keys[i], "data-%05d-file-%08d.bin", i / 1000, i);
        EVP_Digest(list_keys[i], n, md5, NULL, EVP_md5(), NULL);
        for (int k = 0; k < 16; k++) sprintf(hex + 2 * k, "%02x", md5[k]);
        list_at[i] = to - list_text;
        to += sprintf(to, "<Contents><Key>%s</Key><LastModified>2026-11-21T%02d:%02d:%02d.000Z</LastModified>"
                      ETAG "<Size>%d</Size>" CLASS "</Contents>",
                      list_keys[i], i / 3600 % 24, i / 60 % 60, i % 60, hex, i * 7);
    }
    list_at[listed] = to - list_text;
}

static int first_at_least(const char *key, int past) { /* or, if past is set, beyond it */
    int low = 0, high = listed;
    while (low < high) {
        int middle = (low + high) / 2, order = strcmp(list_keys[middle], key);
        if (order < 0 || (past && !order)) low = middle + 1;
        else high = middle;
    }
    return low;
}

static void write_key(FILE *f, const char *key, int as_url) {
    for (; *key; key++)
        if (as_url && !isalnum((unsigned char)*key) && !strchr("-_.~/", *key))
            fprintf(f, "%%%02X", (unsigned char)*key);
        else if (strchr("<>&\"", *key)) fprintf(f, "&#%d;", *key);
        else fputc(*key, f);
}

static int by_path(const void *a, const void *b) {
    return strcmp((*(entry **)a)->path, (*(entry **)b)->path);
}

typedef struct { char prefix[1100], after[1100], delimiter[8], last[1100]; int is_url, most, count, more; } page;

static void page_of_list(FILE *f, page *p, int through) { /* of the bucket that was made before */
    int past = strcmp(p->after, p->prefix) >= 0 && *p->after;
    int first = first_at_least(past ? p->after : p->prefix, past), end = first + p->most;
    size_t n = strlen(p->prefix);
    if (through > listed) through = listed;
    if (end > through) end = through;
    while (end > first && strncmp(list_keys[end - 1], p->prefix, n)) end--;
    if (first > end) first = end;
    p->count = end - first;
    p->more = p->count && end < through && !strncmp(list_keys[end], p->prefix, n);
    fwrite(list_text + list_at[first], 1, list_at[end] - list_at[first], f);
    if (p->count) strcpy(p->last, list_keys[end - 1]);
}

static void page_of_bucket(FILE *f, page *p, const char *bucket) { /* of what was stored */
    entry **found = NULL;
    size_t total = 0, room = 0, shared = 0, skip = strlen(bucket) + 2, n = strlen(p->prefix);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < SLOTS; i++)
        for (entry *e = slots[i]; e; e = e->next) {
            const char *key = e->path + skip;
            if (strncmp(e->path + 1, bucket, skip - 2) || key[-1] != '/') continue;
            if (strncmp(key, p->prefix, n) || strcmp(key, p->after) <= 0) continue;
            if (total == room) found = realloc(found, (room = 2 * room + 1000) * sizeof *found);
            found[total++] = e;
        }
    if (total) qsort(found, total, sizeof *found, by_path);
    for (size_t i = 0; i < total; i++) {
        const char *key = found[i]->path + skip, *cut = *p->delimiter ? strstr(key + n, p->delimiter) : NULL;
        if (shared && !strncmp(key, p->last, shared)) continue;
        shared = cut ? cut - key + strlen(p->delimiter) : 0; /* the length of a common prefix */
        if (shared && !strncmp(p->after, key, shared)) continue;
        if ((p->more = p->count == p->most)) break;
        p->count++, snprintf(p->last, sizeof p->last, "%.*s", shared ? (int)shared : 1099, key);
        fputs(shared ? "<CommonPrefixes><Prefix>" : "<Contents><Key>", f), write_key(f, p->last, p->is_url);
        if (shared) fputs("</Prefix></CommonPrefixes>", f);
        else fprintf(f, "</Key><LastModified>" DATE "</LastModified>" ETAG "<Size>%zu</Size>" CLASS "</Contents>",
                     found[i]->object->etag, found[i]->object->size);
    }
    pthread_mutex_unlock(&lock), free(found);
}

static int list(request *r) {
    char token[1100], *text = NULL;
    int v2 = asked(r, "list-type", NULL, 0), through = listed;
    page p = {.is_url = asked(r, "encoding-type", NULL, 0), .most = (int)number(r, "max-keys", 1000)};
    if (p.most > 1000) p.most = 1000;
    asked(r, "prefix", p.prefix, sizeof p.prefix), asked(r, "delimiter", p.delimiter, sizeof p.delimiter);
    asked(r, v2 ? "start-after" : "marker", p.after, sizeof p.after);
    if (asked(r, "continuation-token", token, sizeof token)) strcpy(p.after, token);
    size_t size;
    FILE *f = open_memstream(&text, &size);
    fprintf(f, XML "<ListBucketResult" NAMESPACE "><Name>%s</Name><Prefix>", r->bucket);
    write_key(f, p.prefix, p.is_url);
    fprintf(f, "</Prefix><MaxKeys>%d</MaxKeys>%s", p.most, p.is_url ? "<EncodingType>url</EncodingType>" : "");
    if (!strcmp(r->bucket, "list") || sscanf(r->bucket, "list-%d", &through)) page_of_list(f, &p, through);
    else page_of_bucket(f, &p, r->bucket);
    fprintf(f, "<KeyCount>%d</KeyCount><IsTruncated>%s</IsTruncated>", p.count, p.more ? "true" : "false");
    const char *next = v2 ? "NextContinuationToken" : "NextMarker";
    if (p.more) fprintf(f, "<%s>", next), write_key(f, p.last, !v2 && p.is_url), fprintf(f, "</%s>", next);
    fputs("</ListBucketResult>", f), fclose(f);
    int failed = answer(r, 200, XML_HEADER, text, size);
    return free(text), failed;
}

static void write_parts(FILE *f, const request *r, const upload *u) {
    long last = number(r, "part-number-marker", 0), most = number(r, "max-parts", 1000), n = last;
    char etag[48], sum[20];
    for (int count = 0; n < PARTS && count < most && count < 1000;) {
        const blob *b = u->parts[++n];
        if (!b) continue;
        etag_of(b, etag), last = n, count++;
        fprintf(f, "<Part><PartNumber>%ld</PartNumber><LastModified>" DATE "</LastModified>" ETAG "<Size>%zu</Size>",
                n, etag, b->size);
        for (int i = 0; i < SUMS; i++) {
            sum_text(&kinds[i], b->sums[i], sum);
            if (b->has[i]) fprintf(f, "<Checksum%s>%s</Checksum%s>", kinds[i].tag, sum, kinds[i].tag);
        }
        fputs("</Part>", f);
    }
    while (n < PARTS && !u->parts[n + 1]) n++;
    fprintf(f, "<UploadId>%s</UploadId><NextPartNumberMarker>%ld</NextPartNumberMarker>", u->id, last);
    fprintf(f, "<IsTruncated>%s</IsTruncated>", n < PARTS ? "true" : "false");
}

static int list_uploads(request *r, int of_parts) { /* the parts of one, or all of a bucket */
    char *text = NULL;
    size_t size, skip = strlen(r->bucket) + 2;
    FILE *f = open_memstream(&text, &size);
    const char *tag = of_parts ? "ListPartsResult" : "ListMultipartUploadsResult";
    fprintf(f, XML "<%s" NAMESPACE "><Bucket>%s</Bucket>", tag, r->bucket);
    pthread_mutex_lock(&lock);
    upload *one = of_parts ? *upload_of(r) : NULL;
    if (one) write_parts(f, r, one);
    for (upload *u = of_parts ? NULL : uploads; u; u = u->next) {
        if (strncmp(u->path + 1, r->bucket, skip - 2) || u->path[skip - 1] != '/') continue;
        fputs("<Upload><Key>", f), write_key(f, u->path + skip, asked(r, "encoding-type", NULL, 0));
        fprintf(f, "</Key><UploadId>%s</UploadId><Initiated>" DATE "</Initiated></Upload>", u->id);
    }
    pthread_mutex_unlock(&lock);
    fprintf(f, "</%s>", tag), fclose(f);
    int unknown = of_parts && !one;
    int failed = unknown ? refuse(r, 404, "NoSuchUpload") : answer(r, 200, XML_HEADER, text, size);
    return free(text), failed;
}

static int delete_many(request *r, char *body) {
    char *text = NULL, path[1400];
    size_t size;
    FILE *f = open_memstream(&text, &size);
    fputs(XML "<DeleteResult" NAMESPACE ">", f);
    for (char *p = body, *end; (p = strstr(p, "<Key>")) && (end = strstr(p, "</Key>")); p = end + 1) {
        *end = 0, snprintf(path, sizeof path, "/%s/%s", r->bucket, p + 5), store(NULL, path, NULL);
        fprintf(f, "<Deleted><Key>%s</Key></Deleted>", p + 5);
    }
    fputs("</DeleteResult>", f), fclose(f);
    int failed = answer(r, 200, XML_HEADER, text, size);
    return free(text), failed;
}

/* ---- the server ---- */

static void look(const request *r) { /* at a body that is more than a question to the server */
    const char *hash = header(r, "x-amz-content-sha256"), *value;
    int kind = stated_sum(r, &value), now = header(r, "content-md5") ? 8 : 0;
    if (kind >= 0) now |= 16 << kind;
    atomic_fetch_or(&seen, now | (!hash || *hash == 'U' ? 2 : *hash == 'S' ? 4 : 1));
}

static int tell_seen(request *r) {
    char extra[200];
    int now = atomic_exchange(&seen, 0), n = sprintf(extra, "x-stub-seen: ");
    for (int i = 0; i < 6; i++) if (now >> i & 1) n += sprintf(extra + n, "%s,", sights[i]);
    sprintf(extra + n, "\r\n");
    return answer(r, 200, extra, NULL, 0);
}

static int with_body(request *r) { /* PUT and POST */
    int is_put = !strcmp(r->method, "PUT");
    const char *wrong = NULL;
    blob *b = read_blob(r, !is_put || !*r->key || strncmp(r->bucket, "null", 4), &wrong);
    if (!b) return -1;
    if (delay_us) usleep(delay_us);
    int failed;
    if (!is_put) b->data[b->size] = 0;
    if (wrong) failed = refuse(r, 400, wrong);
    else if (is_put && (!*r->key || asked(r, "tagging", NULL, 0))) failed = answer(r, 200, "", NULL, 0);
    else if (is_put && header(r, "x-amz-copy-source")) failed = copy(r);
    else if (is_put) {
        if (b->size > QUESTION) look(r);
        return put(r, b);
    }
    else if (asked(r, "uploads", NULL, 0)) failed = begin_upload(r);
    else if (asked(r, "uploadId", NULL, 0)) failed = complete(r, b->data);
    else if (asked(r, "delete", NULL, 0)) failed = delete_many(r, b->data);
    else failed = refuse(r, 501, "NotImplemented");
    return drop_blob(b), failed;
}

static int serve(request *r) {
    if (!strcmp(r->method, "PUT") || !strcmp(r->method, "POST")) return with_body(r);
    if (delay_us) usleep(delay_us);
    int is_get = !strcmp(r->method, "GET");
    if (is_get && asked(r, "uploadId", NULL, 0)) return list_uploads(r, 1);
    if (is_get && asked(r, "uploads", NULL, 0)) return list_uploads(r, 0);
    if (is_get && asked(r, "tagging", NULL, 0)) return xml(r, "<Tagging" NAMESPACE "><TagSet/></Tagging>");
    if (is_get && asked(r, "location", NULL, 0)) return xml(r, "<LocationConstraint" NAMESPACE "/>");
    if (is_get && asked(r, "versioning", NULL, 0)) return xml(r, "<VersioningConfiguration" NAMESPACE "/>");
    if (is_get && !*r->bucket) return tell_seen(r);
    if (!strcmp(r->method, "DELETE")) {
        int status = 0;
        pthread_mutex_lock(&lock);
        int is_upload = asked(r, "uploadId", NULL, 0), known = is_upload && *upload_of(r);
        if (known) forget(upload_of(r));
        pthread_mutex_unlock(&lock);
        if (is_upload) return known ? answer(r, 204, "", NULL, 0) : refuse(r, 404, "NoSuchUpload");
        if (*r->key) status = store(r, r->path, NULL);
        return status ? refuse_condition(r, status) : answer(r, 204, "", NULL, 0);
    }
    if (*r->key) return is_get || !strcmp(r->method, "HEAD") ? get(r) : refuse(r, 501, "NotImplemented");
    return is_get ? list(r) : answer(r, 200, "x-amz-bucket-region: us-east-1\r\n", NULL, 0);
}

static void *connection(void *given) {
    stream in = {(int)(intptr_t)given, 0, 0, malloc(BUFFER)};
    request *r = malloc(sizeof *r);
    int on = 1;
    r->in = &in, thread_md5 = EVP_MD_CTX_new(), thread_scratch = malloc(BLOCK);
    setsockopt(in.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (!read_head(r) && !serve(r)) {
        const char *end = header(r, "connection");
        if (end && strcasestr(end, "close")) break;
    }
    close(in.fd), free(in.data), free(r), free(thread_scratch), EVP_MD_CTX_free(thread_md5);
    return NULL;
}

int main(int count, char **arguments) {
    int port = 0, option, on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    while ((option = getopt(count, arguments, "p:l:d:nc6")) > 0)
        if (option == 'p') port = atoi(optarg);
        else if (option == 'l') listed = atoi(optarg);
        else if (option == 'd') delay_us = atoi(optarg);
        else if (option == 'n') with_md5 = with_sums = 0;
        else if (option == 'c') with_md5 = 0;
        else if (option == '6') known_sums = 1;
        else return 2;
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_MMAP_THRESHOLD, 1 << 30), mallopt(M_TRIM_THRESHOLD, 1 << 30); /* keep the pages */
    for (int i = 0; i < SUMS; i++) make_tables(&kinds[i]);
    make_list();
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&at, sizeof at) || listen(listener, 512)) return perror("s3stub"), 1;
    for (pthread_t thread;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        if (pthread_create(&thread, NULL, connection, (void *)(intptr_t)fd)) close(fd);
        else pthread_detach(thread);
    }
}
