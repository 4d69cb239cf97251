/* Reading what the gateway hands to `configure`: JSON that a program has made, so it is read and
 * not judged. Made by `pulsegate policy new`. */
#include "configure.h"

#include <string.h>

/* Where reading is; once something is wrong, nothing is read any more. */
typedef struct {
    const char *at, *end;
    const char *wrong;
} reader_t;

static char peek(reader_t *in)
{
    while (!in->wrong && in->at < in->end && strchr(" \t\r\n", *in->at))
        in->at++;
    return !in->wrong && in->at < in->end ? *in->at : 0;
}

static bool take(reader_t *in, char wanted)
{
    if (peek(in) != wanted)
        return false;
    in->at++;
    return true;
}

static void refuse(reader_t *in, const char *wrong)
{
    if (!in->wrong)
        in->wrong = wrong;
}

/* A text of at most size - 1 bytes; names and ids have no escapes. */
static void read_text(reader_t *in, char *text, size_t size)
{
    size_t length = 0;
    if (!take(in, '"'))
        refuse(in, "settings: a text is expected");
    while (!in->wrong && in->at < in->end && *in->at != '"') {
        if (*in->at == '\\' || length + 1 == size)
            refuse(in, "settings: a text is too long, or has an escape");
        else
            text[length++] = *in->at++;
    }
    text[length] = 0;
    take(in, '"');
}

/* A number. Up to 15 digits come out exactly as they were written. */
static double read_number(reader_t *in)
{
    bool negative = take(in, '-'), any = false;
    double digits = 0;
    int scale = 0, exponent = 0;
    char next = peek(in);
    for (int past = 0; (next >= '0' && next <= '9') || (next == '.' && !past); next = *in->at) {
        if (next == '.') {
            past = 1;
        } else {
            digits = digits * 10 + (next - '0');
            scale += past;
            any = true;
        }
        if (++in->at == in->end)
            break;
    }
    if (in->at < in->end && (*in->at == 'e' || *in->at == 'E')) {
        in->at++;
        bool less = take(in, '-');
        take(in, '+');
        for (; in->at < in->end && *in->at >= '0' && *in->at <= '9' && exponent < 400; in->at++)
            exponent = exponent * 10 + (*in->at - '0');
        exponent = less ? -exponent : exponent;
    }
    if (!any)
        refuse(in, "settings: a number is expected");
    double factor = 1;
    int shift = exponent - scale;
    for (int i = 0; i < (shift < 0 ? -shift : shift); i++)
        factor *= 10;
    digits = shift < 0 ? digits / factor : digits * factor;
    return negative ? -digits : digits;
}

/* The next key of an object, which the caller has entered with `{`; false at its end. */
static bool next_key(reader_t *in, char *key, size_t size)
{
    take(in, ',');
    if (in->wrong || take(in, '}'))
        return false;
    read_text(in, key, size);
    if (!take(in, ':'))
        refuse(in, "settings: a value is expected");
    return !in->wrong;
}

static void read_class(reader_t *in, class_t *class_)
{
    char key[64];
    take(in, '{');
    while (next_key(in, key, sizeof key)) {
        if (strcmp(key, "name") == 0)
            read_text(in, class_->name, sizeof class_->name);
        else {
            double number = read_number(in);
            if (strcmp(key, "interval_ms") == 0)
                class_->interval_ms = number;
            else if (strcmp(key, "detect_within_ms") == 0)
                class_->detect_within_ms = number;
            else if (strcmp(key, "suspect_grace_ms") == 0)
                class_->suspect_grace_ms = number;
            else if (strcmp(key, "fail_grace_ms") == 0)
                class_->fail_grace_ms = number;
            else if (strcmp(key, "cap_ms") == 0)
                class_->cap_ms = number;
        }
    }
}

static void read_executors(reader_t *in, config_t *config)
{
    char key[64];
    take(in, '[');
    while (!in->wrong && !take(in, ']')) {
        take(in, ',');
        if (!take(in, '{') || config->executor_count == EXECUTORS) {
            refuse(in, "settings: more executors than this policy can hold");
            return;
        }
        executor_t *executor = &config->executors[config->executor_count++];
        while (next_key(in, key, sizeof key)) {
            if (strcmp(key, "id") == 0)
                read_text(in, executor->id, sizeof executor->id);
            else
                executor->wait_ms = read_number(in);
        }
    }
}

static void read_settings(reader_t *in)
{
    char key[64];
    take(in, '{');
    while (next_key(in, key, sizeof key)) {
        const setting_t *found = NULL;
        for (size_t i = 0; i < POLICY.setting_count; i++)
            if (strcmp(key, POLICY.settings[i].name) == 0)
                found = &POLICY.settings[i];
        if (found)
            *found->value = read_number(in);
        else
            refuse(in, "settings: one is given that this policy does not know");
    }
}

const char *configure(config_t *config, const char *json, size_t length)
{
    reader_t in = {json, json + length, NULL};
    char key[64];
    if (!take(&in, '{'))
        return "settings: no JSON";
    while (next_key(&in, key, sizeof key)) {
        if (strcmp(key, "class") == 0)
            read_class(&in, &config->class_);
        else if (strcmp(key, "executors") == 0)
            read_executors(&in, config);
        else
            read_settings(&in);
    }
    return in.wrong;
}
