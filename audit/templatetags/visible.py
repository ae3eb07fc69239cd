from django import template

from keys.visible import visible

register = template.Library()
register.filter(visible)
