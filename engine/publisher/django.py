"""`{% contextual_ad "top" size="300x250" %}` for Django: the element, and no network in a template.

Name this module as a library of the template engine, under any name: {"contextual_ad": "engine.publisher.django"}.
"""

from __future__ import annotations

try:
    from django import template
    from django.conf import settings
    from django.utils.safestring import SafeString, mark_safe
except ImportError as error:
    raise ImportError("the template tag needs: pip install django") from error

from engine.publisher.markup import in_template

register = template.Library()


@register.simple_tag  # type: ignore[untyped-decorator]  # Django has no types
def contextual_ad(placement: object, **attributes: object) -> SafeString:
    """Give the element. Who the publisher is may stand once in the setting TACTFUL_PUBLISHER, or in each tag."""
    publisher = getattr(settings, "TACTFUL_PUBLISHER", None)
    return mark_safe(in_template(placement, attributes, publisher))  # noqa: S308 - escaped there
