"""Frequent names of persons in the countries where plants are; most people's are not among them.

What is a month, a place or a make of cars as often (April, Florence, Mercedes) is left out.
"""

from __future__ import annotations

from atoll.mesh.pii.naming import folded

GIVEN = """
    james robert john michael david william richard joseph thomas christopher daniel matthew anthony
    mark steven andrew paul joshua kenneth kevin brian timothy ronald jason edward jeffrey ryan
    jacob gary nicholas eric jonathan stephen larry justin scott brandon benjamin samuel gregory
    patrick frank alexander raymond jack dennis jerry tyler aaron adam nathan henry peter kyle simon
    oliver harry george charlie mary patricia jennifer linda elizabeth barbara susan jessica sarah
    karen lisa nancy betty sandra margaret ashley kimberly emily donna michelle carol amanda melissa
    deborah stephanie rebecca sharon laura cynthia dorothy amy kathleen angela shirley emma brenda
    pamela nicole anna samantha katherine christine helen debra rachel carolyn janet maria heather
    diane julie joyce kelly lauren joan judith megan alice julia grace sophie olivia amelia isla
    hans klaus juergen jurgen wolfgang dieter manfred uwe andreas stefan bernd rainer ralf matthias
    markus torsten thorsten dirk sven jens joerg jorg ulrich holger heinz helmut gerhard guenter
    gunter horst karl werner walter herbert rolf lars kai jan tim tobias florian felix sebastian
    lukas leon jonas maximilian moritz philipp fabian dominik marcel ute sabine petra monika karin
    renate ursula birgit claudia susanne andrea gabriele heike martina anja katrin kathrin silke
    stefanie melanie tanja katja christina kerstin ingrid helga elke brigitte angelika ulrike hannah
    lena leonie marie mia sophia lea johanna greta frieda jose joao antonio manuel francisco carlos
    paulo pedro luis rui miguel jorge fernando nuno ricardo tiago bruno hugo vitor andre diogo
    duarte goncalo filipe rafael henrique afonso martim rodrigo ana isabel teresa sofia catarina
    ines mariana rita marta joana beatriz carla paula fernanda helena margarida susana filipa leonor
    matilde carolina francisca lurdes conceicao luisa cristina vera raquel silvia daniela tania raul
    joaquim domingos alberto armando javier alejandro sergio alvaro pablo diego adrian ivan oscar
    ruben enrique ramon vicente angel jesus santiago mateo juan rosario carmen dolores pilar josefa
    mercedita lucia elena montserrat nuria rocio irene alba noelia yolanda encarnacion inmaculada
    giuseppe giovanni luigi mario vincenzo salvatore francesco marco alessandro luca matteo stefano
    roberto davide simone paolo giorgio fabio massimo giulia chiara francesca federica valentina
    alessia elisa sara paola giovanna rosa lorenzo jean pierre michel philippe alain nicolas
    christophe laurent julien sebastien stephane olivier thierry pascal guillaume antoine francois
    jacques nathalie isabelle sylvie catherine francoise monique celine aurelie emilie camille chloe
    manon veronique piotr krzysztof andrzej tomasz pawel michal marcin jakub lukasz grzegorz mateusz
    wojciech agnieszka katarzyna malgorzata krystyna ewa elzbieta zofia joanna magdalena mehmet
    mustafa ahmet ali huseyin hasan ibrahim murat yusuf emre fatma ayse emine hatice zeynep elif
    jiri petr martin pavel jaroslav tomas miroslav zdenek vaclav jana eva hana lenka katerina
    mohammed muhammad ahmed omar fatima aisha wei fang ming jun hiroshi takashi yuki kenji
    """
FAMILY = """
    smith johnson williams jones garcia miller davis rodriguez martinez hernandez lopez gonzalez
    wilson anderson thomas taylor moore jackson martin lee perez thompson harris sanchez clark
    ramirez lewis robinson walker allen wright torres nguyen flores adams nelson baker campbell
    mitchell carter roberts evans edwards turner phillips collins murphy kelly mueller muller
    schmidt schneider fischer weber meyer wagner becker schulz hoffmann schaefer schafer koch bauer
    richter klein schroeder schroder neumann schwarz zimmermann braun krueger kruger hofmann
    hartmann lange schmitt krause meier lehmann schmid schulze maier koehler kohler herrmann koenig
    konig mayer huber kaiser fuchs peters scholz moeller moller silva santos ferreira pereira
    oliveira costa rodrigues martins jesus sousa fernandes goncalves gomes lopes marques alves
    almeida ribeiro pinto carvalho teixeira moreira correia mendes nunes soares vieira monteiro
    cardoso rocha raposo neves coelho cruz cunha pires ramos reis simoes antunes matos fonseca
    machado araujo barbosa tavares lourenco castro figueiredo azevedo freitas fernandez gomez ruiz
    diaz jimenez moreno munoz alvarez romero alonso gutierrez navarro dominguez vazquez serrano
    blanco molina morales suarez ortega delgado ortiz marin rubio sanz iglesias rossi russo ferrari
    esposito bianchi romano colombo ricci marino greco bruno gallo conti deluca bernard dubois
    robert petit durand leroy moreau laurent lefebvre michel roux fournier girard nowak kowalski
    kowalska wisniewski wisniewska wojcik kowalczyk kaminski kaminska lewandowski zielinski yilmaz
    kaya demir celik sahin yildiz aydin ozturk novak svoboda novotny dvorak cerny prochazka tran
    wang li zhang liu chen yang singh kumar sharma patel khan tanaka suzuki sato
    """
COMPANY = """
    gmbh ag kg se ohg mbh lda sa sl slu inc ltd llc plc corp spa srl bv nv oy ab as co sas sarl kft
    company group holding filhos sons hermanos werke
"""
PARTICLES = "da de do das dos e y di von van der zu del la el bin al dr ing prof"
MAX_WORDS = 6
_KNOWN = frozenset(GIVEN.split()) | frozenset(FAMILY.split())
_COMPANY = frozenset(COMPANY.split())
_PARTICLES = frozenset(PARTICLES.split())


def is_name(text: str) -> bool:
    """Tell whether a text of letters begins or ends with a frequent given or family name."""
    words = [word.strip(".,'-") for word in folded(text).replace(",", " ").split()]
    words = [word for word in words if word and word not in _PARTICLES]
    if not 1 <= len(words) <= MAX_WORDS or not _COMPANY.isdisjoint(words):
        return False
    ends = {*words[0].split("-"), words[-1].split("-")[0]}
    return not ends.isdisjoint(_KNOWN)
